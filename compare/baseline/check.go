package baseline

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Result is what a session is, held against a baseline.
type Result struct {
	Session    string
	Verdict    report.Verdict // Pass, Fail or Incomparable
	Compared   int
	Identical  int // of those, equal to the bit
	Missing    []string
	Extra      []string // of the session only
	Skipped    []string // with why: of another shape
	Unreadable []string
	Unfinished string // why the session is not that of a run that has ended
	First      string // the first divergence and why; "" for none
	Failed     int    // tensors beyond what rounding and their inputs explain
	Worst      float64
	WorstAt    string
}

// ExitCode is 0 for a pass, 1 for a gap, 3 where too little was comparable.
func (r *Result) ExitCode() int {
	switch r.Verdict {
	case report.Pass:
		return 0
	case report.Fail:
		return 1
	}
	return 3
}

// pair is one tensor of both.
type pair struct {
	*Tensor // of the session
	base    *Tensor
	gap     float64
}

// Check holds a session's fingerprint against the baseline. An output fails
// where its estimated gap is more than rounding and the gap of its inputs (of a
// module that holds others: of their outputs) explain, as in ildiff; rules that
// need the values themselves have no part in it. A foreign baseline is an error.
func (b *Baseline) Check(name string, p *Print) (*Result, error) {
	r := &Result{Session: name, Unreadable: p.Unreadable}
	base := map[key]*Tensor{}
	for _, t := range b.Tensors {
		base[t.key()] = t
	}
	var pairs []*pair
	for _, t := range p.Tensors {
		x := base[t.key()]
		delete(base, t.key())
		switch {
		case x == nil:
			r.Extra = append(r.Extra, t.String())
		case slices.Equal(x.Shape, t.Shape) && x.nothing(&t.Fingerprint) != "":
			r.Skipped = append(r.Skipped, fmt.Sprintf("%s: %s", t, x.nothing(&t.Fingerprint)))
		case slices.Equal(x.Shape, t.Shape):
			pairs = append(pairs, &pair{t, x, x.gap(&t.Fingerprint)})
		case len(x.Shape) != len(t.Shape) || len(t.Shape) > 1 && !slices.Equal(x.Shape[1:], t.Shape[1:]):
			return nil, fmt.Errorf("the baseline is foreign to %s: %s is %s in the baseline, %s in the session: another model, or other ranks", name, t, tensor.ShapeString(x.Shape), tensor.ShapeString(t.Shape))
		default:
			r.Skipped = append(r.Skipped, fmt.Sprintf("%s: %s in the baseline, %s in the session", t, tensor.ShapeString(x.Shape), tensor.ShapeString(t.Shape)))
		}
	}
	unread := map[string]bool{}
	for _, u := range p.Unreadable {
		at, _, _ := strings.Cut(u, ": ")
		unread[at] = true
	}
	for _, t := range b.Tensors {
		if base[t.key()] != nil && !unread[t.String()] {
			r.Missing = append(r.Missing, t.String())
		}
	}
	if err := b.foreign(name, p); err != nil {
		return nil, err
	}
	for _, x := range pairs {
		if x.Step == b.Tensors[0].Step && x.Direction == "inputs" && x.dtype().IsInt() && x.base.dtype().IsInt() && x.gap > 0 {
			return nil, fmt.Errorf("the baseline is foreign to %s: %s: token ids or positions differ in the first step: another prompt", name, x)
		}
	}
	r.Unfinished = p.Unfinished
	r.Compared = len(pairs)
	r.judge(pairs)
	r.conclude()
	return r, nil
}

// foreign refuses a baseline most of whose modules are others. A session that
// was filtered has fewer, and none of its own.
func (b *Baseline) foreign(name string, p *Print) error {
	theirs, ours, shared := map[string]bool{}, map[string]bool{}, 0
	for _, t := range b.Tensors {
		theirs[t.Module] = true
	}
	for _, t := range p.Tensors {
		if !ours[t.Module] && theirs[t.Module] {
			shared++
		}
		ours[t.Module] = true
	}
	if 2*shared < min(len(theirs), len(ours)) || shared == 0 && len(ours) > 0 {
		return fmt.Errorf("the baseline is foreign to %s: of its %d modules %d are among the session's %d: another model", name, len(theirs), shared, len(ours))
	}
	return nil
}

func (r *Result) conclude() {
	switch {
	case r.Failed > 0:
		r.Verdict = report.Fail
	case r.Compared == 0 || r.Unfinished != "" || len(r.Missing)+len(r.Extra)+len(r.Skipped)+len(r.Unreadable) > 0:
		r.Verdict = report.Incomparable
	default:
		r.Verdict = report.Pass
	}
}

// call is the pairs of one call of a module.
type call struct {
	step            int
	module          string
	index           int
	inputs, outputs []*pair
	types           []tensor.DType
	composite       bool
	in              float64 // the worst input
	inner           float64 // the worst output of the modules in it
}

// judge goes through the calls as they ran; a module that holds others returns
// after them.
func (r *Result) judge(pairs []*pair) {
	j := &judge{Result: r, history: map[string]float64{}}
	var open []*call // the modules that have not returned
	for _, c := range group(pairs) {
		for len(open) > 0 && !open[len(open)-1].holds(c) {
			j.outputs(open[len(open)-1])
			open = open[:len(open)-1]
		}
		j.inputs(c)
		open = append(open, c)
		if c.index > 0 { // a module that all layers share lies under one of them by name only
			j.outputs(c)
			open = open[:len(open)-1]
		}
	}
	for i := range open {
		j.outputs(open[len(open)-1-i])
	}
}

// holds reports whether c runs before the module has returned.
func (c *call) holds(x *call) bool {
	return c.step == x.step && (strings.HasPrefix(x.module, c.module+".") || x.index > 0 && c.composite)
}

type judge struct {
	*Result
	history map[string]float64 // attention's keys and values of earlier steps
	seen    float64            // the worst gap so far, of all steps: logits come with the step after theirs
}

// inputs looks for what no recorded module made.
func (j *judge) inputs(c *call) {
	for _, p := range c.inputs {
		lim, _ := rounding.Explained(topology.Unknown, c.types, true, j.seen)
		j.tensor(p, lim, j.Failed > 0)
	}
	c.in = worst(c.inputs)
	if len(c.inputs) == 0 {
		c.in = j.seen
	}
	if topology.Of(c.module).Kind == topology.Attention {
		c.in = max(c.in, j.history[c.module])
		j.history[c.module] = c.in
	}
	j.seen = max(j.seen, finite(worst(c.inputs)))
}

func (j *judge) outputs(c *call) {
	in := max(c.in, c.inner)
	lim, noise := rounding.Explained(topology.Of(c.module).Kind, c.types, c.composite, in)
	failed := j.Failed > 0
	for _, p := range c.outputs {
		j.tensor(p, lim, failed && in > noise)
	}
	j.seen = max(j.seen, finite(worst(c.outputs)))
}

// tensor judges one pair; inherited is for gaps that an earlier divergence
// explains.
func (r *Result) tensor(p *pair, lim float64, inherited bool) {
	if p.gap == 0 && p.SHA256 == p.base.SHA256 {
		r.Identical++
		return
	}
	if p.gap > 0 && (r.WorstAt == "" || p.gap > r.Worst) {
		r.Worst, r.WorstAt = p.gap, p.String()
	}
	rows := p.base.rowGap(&p.Fingerprint)
	hidden := rows > rounding.Far*p.noise()
	if inherited || p.gap <= lim && !hidden {
		return
	}
	if r.Failed++; r.Failed > 1 {
		return
	}
	r.First = p.String() + ": " + p.why(lim)
	if p.gap <= lim {
		r.First = fmt.Sprintf("%s: its rows are off by rel_l2 %s by estimate, which a few huge values hide in the tensor's %s", p, estimate(rows), estimate(p.gap))
	}
}

func (p *pair) why(lim float64) string {
	switch {
	case p.dtype() == p.base.dtype() && p.dtype().ValuesPerElement() == 0:
		return fmt.Sprintf("its bytes differ, and %s has no numbers to compare", p.DType)
	case p.NonFinite != p.base.NonFinite && p.NaN == p.base.NaN && p.Inf == p.base.Inf:
		return "as many NaN and infinities as in the baseline, but at other places or of another sign"
	case p.NaN != p.base.NaN || p.Inf != p.base.Inf:
		return fmt.Sprintf("NaN: %d in the baseline, %d in the session; infinities: %d and %d", p.base.NaN, p.NaN, p.base.Inf, p.Inf)
	case p.dtype().IsInt() && p.base.dtype().IsInt():
		return "integers differ (token ids or positions: another prompt?)"
	}
	return fmt.Sprintf("rel_l2 %s by estimate, norm ratio %.5f, where rounding and its inputs explain %.1e", estimate(p.gap), p.norm()/p.base.norm(), lim)
}

// estimate writes a gap with its standard error.
func estimate(gap float64) string {
	if math.IsInf(gap, 0) {
		return "inf"
	}
	return fmt.Sprintf("%.1e ± %.0e", gap, gap/math.Sqrt(2*Projections))
}

func finite(v float64) float64 {
	if math.IsInf(v, 0) {
		return 0
	}
	return v
}

func worst(ps []*pair) float64 {
	w := 0.0
	for _, p := range ps {
		w = max(w, p.gap)
	}
	return w
}

// group puts the pairs of a call together and finds what is in what.
func group(pairs []*pair) []*call {
	type id struct {
		step   int
		module string
		call   int
	}
	at := map[id]*call{}
	var out []*call
	for _, p := range pairs {
		k := id{p.Step, p.Module, p.Call}
		c := at[k]
		if c == nil {
			c = &call{step: p.Step, module: p.Module, index: p.Call}
			at[k], out = c, append(out, c)
		}
		c.types = append(c.types, p.dtype(), p.base.dtype())
		if p.Direction == "inputs" {
			c.inputs = append(c.inputs, p)
		} else {
			c.outputs = append(c.outputs, p)
		}
	}
	for k, c := range at {
		for up := topology.Parent(k.module); up != ""; up = topology.Parent(up) {
			if o := at[id{k.step, up, 0}]; o != nil {
				o.composite, o.inner = true, max(o.inner, worst(c.outputs))
			}
		}
	}
	return out
}

// noise is what rounding explains in a tensor of these types.
func (p *pair) noise() float64 { return max(rounding.Noise(p.dtype()), rounding.Noise(p.base.dtype())) }

// nothing tells why two fingerprints of one shape hold nothing to compare, "" if
// they do.
func (f *Fingerprint) nothing(other *Fingerprint) string {
	values := f.Numel * f.dtype().ValuesPerElement()
	switch {
	case f.Numel == 0:
		return "it has no elements: there is nothing to compare"
	case values > 0 && f.NaN == values && other.NaN == values:
		return "every value is NaN on both sides: there is nothing to compare"
	}
	return ""
}
