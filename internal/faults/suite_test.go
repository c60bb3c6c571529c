package faults

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
)

// benches are the models: a trained one, and a random one of each kind that
// can have faults of its own (rope scaling; bias and q/k norms; a window). In the
// last, the first one with Outliers, a fault is small beside a massive first token,
// and the gap of an input hides what it hands on.
var benches = []string{"gopher-1m", "llama-yarn", "qwen3", "mistral-window", withOutliers}

const withOutliers = "gopher-1m, outliers"

// bench opens one of them.
func bench(t *testing.T, name string) *Bench {
	if name != withOutliers {
		return NewBench(t, name)
	}
	b := NewBench(t, benches[0], Outliers)
	b.Name = name
	return b
}

// column is a mode under one kind of noise.
type column struct {
	mode  mode
	order string
}

func (c column) String() string {
	if c.order == orders[0].name {
		return c.mode.name
	}
	return c.mode.name + ", " + c.order
}

func columnsOf() []column {
	var out []column
	for _, o := range orders {
		for _, m := range modes {
			out = append(out, column{m, o.name})
		}
	}
	return out
}

// outcome is what one comparison said.
type outcome struct {
	bench, name, column string
	negative            bool

	verdict report.Verdict
	place   Place // of the first divergence
	why     string
	hint    string
	right   bool // named where the fault is; of a negative, passed
	hinted  bool // the hint is what is wrong
}

// scores collects the outcomes of parallel tests.
type scores struct {
	mu    sync.Mutex
	all   []outcome
	gains gains
}

func (s *scores) add(o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, o)
}

// TestSuite injects every fault into every model, and the differences that are
// none, and holds ildiff to naming the first and passing the second. What it
// does not reach is listed in exceptions_test.go.
func TestSuite(t *testing.T) {
	var s scores
	t.Run("models", func(t *testing.T) {
		for _, name := range benches {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := bench(t, name)
				for _, f := range All() {
					if f.Needs == nil || f.Needs(b.Config) {
						t.Run(f.Name, func(t *testing.T) { s.fault(t, b, f) })
					}
				}
				for _, n := range negatives() {
					t.Run(n.name, func(t *testing.T) { s.negative(t, b, n) })
				}
			})
		}
	})
	if !t.Failed() {
		s.check(t, exceptions)
		s.gains.check(t)
		s.document(t)
	}
}

// fault compares runs with the fault with the reference.
func (s *scores) fault(t *testing.T, b *Bench, f Fault) {
	right := b.setting(f)
	ref := b.Ref
	if right.right != nil {
		ref = right.right.ref
	}
	if f.Tokens != nil {
		right.Plan = b.Plan()
		f.Tokens(right.Plan)
	}
	for i, o := range orders {
		if i > 0 && !strings.HasPrefix(b.Name, benches[0]) {
			continue // the harder noise on one model alone: it costs as much again
		}
		target := b.target(t, f, Setting{DType: right.DType, Order: o.order, Inject: f.Inject, Plan: right.Plan})
		for _, m := range modes {
			out, _ := judge(t, b, m, right, ref, target)
			out.name, out.column = f.Name, column{m, o.name}.String()
			out.right = out.verdict == report.Fail && out.place == f.Where
			out.hinted = slices.ContainsFunc(strings.Split(f.Hint, "|"), func(s string) bool { return strings.Contains(out.hint, s) })
			s.add(out)
		}
	}
}

// target is the session with a fault.
func (b *Bench) target(t *testing.T, f Fault, s Setting) *il.Session {
	if f.Parallel != nil {
		return b.parallel(t, s, f.Parallel)
	}
	return b.Session(t, s)
}

func (s *scores) negative(t *testing.T, b *Bench, n negative) {
	ref, target, right := n.sessions(t, b)
	for _, m := range modes {
		out, r := judge(t, b, m, right, ref, target)
		if m.name == modes[0].name && b.Name != withOutliers {
			s.measure(r)
		}
		out.name, out.column, out.negative = n.name, m.name, true
		out.right = out.verdict == report.Pass
		if n.ties {
			require.Positive(t, rerouted(r), "no token went to another expert: nothing was tried")
		}
		s.add(out)
	}
}

func judge(t *testing.T, b *Bench, m mode, right Setting, ref, target *il.Session) (outcome, *report.Report) {
	r, err := compare.Sessions(ref, target, compare.Options{Evidence: m.evidence(t, b, right, target), Experts: b.experts(m)})
	require.NoError(t, err)
	out := outcome{bench: b.Name, verdict: r.Verdict}
	if d := r.FirstDivergence; d != nil {
		out.place, out.why, out.hint = Place{d.Step, d.Module, d.Call}, d.Why, d.Hint
	}
	return out, r
}

// check asserts that all is right but the exceptions, and that those still
// are.
func (s *scores) check(t *testing.T, exceptions []exception) {
	used := map[int]bool{}
	for _, o := range s.all {
		i := slices.IndexFunc(exceptions, func(e exception) bool { return e.covers(o) })
		switch {
		case o.right && (o.negative || o.hinted):
		case o.right:
			t.Errorf("%s: %s (%s): the hint is %q: %s", o.bench, o.name, o.column, o.hint, o.why)
		case i >= 0:
			used[i] = true
			t.Logf("known: %s", o)
		default:
			t.Errorf("%s", o)
		}
	}
	for i, e := range exceptions {
		switch {
		case used[i]:
		case e.pending:
			t.Logf("no longer pending, take it out of the list: %s, %v, %v", e.name, e.columns, e.benches)
		default:
			t.Errorf("no exception any more, take it out of the list: %s, %v, %v", e.name, e.columns, e.benches)
		}
	}
}

func (o outcome) String() string {
	s := o.bench + ": " + o.name + " (" + o.column + ") "
	switch {
	case o.place == Place{}:
		return s + "is missed: " + string(o.verdict)
	case o.negative:
		return s + "is called a fault: " + o.place.String() + ": " + o.why
	}
	return s + "is named at " + o.place.String() + ": " + o.why
}

// rerouted counts the near ties of routers.
func rerouted(r *report.Report) int {
	n := 0
	for _, x := range r.Tensors {
		if x.Routing != nil {
			n += x.Routing.NearTies
		}
	}
	return n
}
