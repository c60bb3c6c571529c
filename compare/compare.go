// Package compare finds where two intermediate-logging sessions of one model
// part, in stages that each live in a file of their own:
//
//	view      both sessions, made comparable tensor by tensor      view
//	pair      tensors by step, module, call, direction and slot    pair.go
//	order     forwards, and the tree of calls in each              forward.go
//	workload  which forwards ran the same tokens on both sides     workload.go
//	measure   the gap of every pair, read block by block           measure.go, metric
//	judge     noise or fault, and the first divergence             judge.go, container.go, bounds.go
//	report    the result tree                                      report.go
//
// Several machines measure a part each (part.go), and the judge is given all
// parts (merge.go).
//
// The writers (text.go, json.go) only read the tree.
package compare

import (
	"context"
	"errors"

	"github.com/ilref/ilref/compare/view"
	"github.com/ilref/ilref/il"
)

// Options says what to compare and how to judge it. The zero value compares
// everything, by the default rule, and asks for full coverage.
type Options struct {
	Steps       []StepRange // directory numbers; none means all
	Modules     []string    // Python regexes, searched in the module names; none means all
	CommonOnly  bool        // leave out what only one session holds, instead of counting it as missing
	Bounds      Bounds      // where one is set, they replace the default rule
	Policy      *Policy     // rules for single tensors, nil for none; not beside Bounds
	MinCoverage *float64    // percent of the tensors of both sessions; nil means 100
	View        view.Options
	Evidence    Evidence
	Progress    func(done, total int) // called between tensors, by one goroutine; nil for none
	TokenText   func(id int) string   // names tokens in the report; nil for numbers alone
}

// Sessions compares target with ref, the reference. Its errors are those of
// the request: options that select nothing, sessions of different models. What
// is wrong with single tensors is in the report.
func Sessions(ref, target *il.Session, opts Options) (*Report, error) {
	return SessionsContext(context.Background(), ref, target, opts)
}

// SessionsContext is Sessions that stops when ctx ends, with its error.
func SessionsContext(ctx context.Context, ref, target *il.Session, opts Options) (*Report, error) {
	c, err := begin(ref, target, &opts)
	if err != nil {
		return nil, err
	}
	if err := c.measure(ctx, nil); err != nil {
		return nil, err
	}
	return verdict(c.measured(), sessionLooker{&c.notes}), ctx.Err()
}

// comparison is two sessions on their way through the stages.
type comparison struct {
	rawRef, rawTarget *il.Session
	ref, target       *il.Session // made comparable
	notes             view.Notes
	opts              *Options
	sel               *selection
	forwards          []*forward
	layers            int // of the model; 0 is unknown
}

// begin goes as far as names and tokens lead.
func begin(ref, target *il.Session, opts *Options) (*comparison, error) {
	c := &comparison{rawRef: ref, rawTarget: target, opts: opts}
	opts.View.Canonical = opts.View.Canonical || opts.Evidence.given() // ilref, which makes it, has no other names
	var err error
	if c.ref, c.target, c.notes, err = view.Prepare(ref, target, opts.View); err != nil {
		return nil, err
	}
	if err := sameModel(c.ref, c.target); err != nil {
		return nil, err
	}
	if c.sel, err = newSelection(c.ref, c.target, opts.Steps, opts.Modules, opts.CommonOnly); err != nil {
		return nil, err
	}
	if opts.Policy != nil && opts.Bounds.set() {
		return nil, errors.New("a policy and bounds for all tensors: give the bounds as the policy's last rule")
	}
	c.forwards = order(c.ref, c.target, c.sel)
	if err := opts.Policy.apply(c.forwards, c.ref, c.target); err != nil {
		return nil, err
	}
	workloads(c.forwards)
	c.layers = layerCount(c.ref, c.target)
	return c, nil
}

// measure finds the figures of every tensor; then, where there is one, is
// called with every pair that was measured, several at a time.
func (c *comparison) measure(ctx context.Context, then func(*slotPair)) error {
	if err := measure(ctx, c.forwards, c.opts.Bounds.tolerance, c.opts.Progress, then); err != nil {
		return err
	}
	if err := c.opts.Evidence.gather(ctx, c.target, c.forwards, c.sel); err != nil {
		return err
	}
	nameTokens(c.forwards, c.opts.TokenText)
	findRanks(c.forwards, &c.notes)
	if c.opts.Bounds.set() { // which ask for no origin
		return nil
	}
	return findOrigins(ctx, c.forwards, sameFiles)
}

// measured is what the judge is given.
func (c *comparison) measured() *measured {
	o := c.opts
	return &measured{
		rawRef: c.rawRef, rawTarget: c.rawTarget, notes: c.notes, forwards: c.forwards, layers: c.layers,
		rule: o.Evidence.rule(), policy: o.Policy != nil, ratioLimit: o.Evidence.RatioLimit, bounds: o.Bounds, minCoverage: o.MinCoverage,
	}
}

// verdict is the report, with what look tells of the calls that failed.
func verdict(m *measured, look looker) *Report {
	r, b := m.judge()
	r.explain(m.forwards, b, look)
	return r
}
