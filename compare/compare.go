// Package compare finds where two intermediate-logging sessions of one model
// part: options in, a report out. Each stage is a package of its own, which
// knows only those before it:
//
//	setup      in what the sessions say that they were made otherwise
//	normalize  both sessions, made comparable tensor by tensor
//	pairing    tensors by step, module, call, direction and slot; forwards that ran the same tokens
//	measure    the gap of every pair, read block by block (metric), and what evidence tells of it
//	judge      noise (rounding) or fault, and the first divergence
//	diagnose   the likely cause of a fault
//	report     the result tree, which package render writes
//
// Several machines measure a part each (MeasurePart), and the judge is given all
// parts (Merge, package partial).
package compare

import (
	"cmp"
	"context"
	"errors"

	"github.com/ilref/ilref/compare/diagnose"
	"github.com/ilref/ilref/compare/judge"
	"github.com/ilref/ilref/compare/measure"
	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/setup"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/provenance"
)

// Evidence are sessions that tell more of the target than a second run can.
type Evidence = measure.Evidence

// Options says what to compare and how to judge it. The zero value compares
// everything, by the default rule, and asks for full coverage.
type Options struct {
	Steps       []report.StepRange // directory numbers; none means all
	Modules     []string           // Python regexes, searched in the module names; none means all
	CommonOnly  bool               // leave out what only one session holds, instead of counting it as missing
	Bounds      report.Bounds      // where one is set, they replace the default rule
	Policy      *report.Policy     // rules for single tensors, nil for none; not beside Bounds
	Clip        *float64           // ε of the clip range [1-ε, 1+ε] of logprobs; nil means that of the policy, or report.DefaultClip
	MinCoverage *float64           // percent of the tensors of both sessions; nil means 100
	View        normalize.Options
	Evidence    Evidence
	Experts     measure.Experts // which experts the scores of routers choose
	// Prepared is given both sessions as they are compared, before anything is
	// measured: their names and steps are those of the report. nil for none.
	Prepared  func(ref, target *il.Session)
	Progress  func(done, total int) // called between tensors, by one goroutine; nil for none
	TokenText func(id int) string   // names tokens in the report; nil for numbers alone
}

// Sessions compares target with ref, the reference. Its errors are those of
// the request: options that select nothing, sessions of different models. What
// is wrong with single tensors is in the report.
func Sessions(ref, target *il.Session, opts Options) (*report.Report, error) {
	return SessionsContext(context.Background(), ref, target, opts)
}

// SessionsContext is Sessions that stops when ctx ends, with its error.
func SessionsContext(ctx context.Context, ref, target *il.Session, opts Options) (*report.Report, error) {
	c, err := begin(ref, target, &opts)
	if err != nil {
		return nil, err
	}
	if err := c.measure(ctx, nil); err != nil {
		return nil, err
	}
	return verdict(c.measured(), diagnose.Sessions{Notes: &c.notes, Experts: c.experts()}), ctx.Err()
}

// comparison is two sessions on their way through the stages.
type comparison struct {
	rawRef, rawTarget *il.Session
	ref, target       *il.Session // made comparable
	notes             normalize.Notes
	opts              *Options
	sel               *pairing.Selection
	forwards          []*pairing.Forward
	layers            int // of the model; 0 is unknown
}

// begin goes as far as names and tokens lead.
func begin(ref, target *il.Session, opts *Options) (*comparison, error) {
	c := &comparison{rawRef: ref, rawTarget: target, opts: opts}
	opts.View.Canonical = opts.View.Canonical || opts.Evidence.Given() // ilref, which makes it, has no other names
	opts.View.KVHeads = cmp.Or(opts.View.KVHeads, opts.Evidence.KVHeads)
	opts.View.Vocabulary = opts.Evidence.Columns()
	var err error
	if c.ref, c.target, c.notes, err = normalize.Prepare(ref, target, opts.View); err != nil {
		return nil, err
	}
	if opts.Prepared != nil {
		opts.Prepared(c.ref, c.target)
	}
	if err := pairing.SameModel(c.ref, c.target); err != nil {
		return nil, err
	}
	if c.sel, err = pairing.NewSelection(c.ref, c.target, opts.Steps, opts.Modules, opts.CommonOnly); err != nil {
		return nil, err
	}
	if opts.Policy != nil && opts.Bounds.Set() {
		return nil, errors.New("a policy and bounds for all tensors: give the bounds as the policy's last rule")
	}
	c.forwards = pairing.Order(c.ref, c.target, c.sel)
	if err := pairing.ApplyPolicy(opts.Policy, c.forwards, c.ref, c.target); err != nil {
		return nil, err
	}
	pairing.Workloads(c.forwards)
	pairing.ReadRows(c.forwards, c.ref, c.target, c.notes.Told(), [2]*il.Session{ref, target}, c.notes.MoreLogits())
	c.layers = pairing.LayerCount(c.ref, c.target)
	return c, nil
}

// measure finds the figures of every tensor; then, where there is one, is
// called with every pair that was measured, several at a time.
func (c *comparison) measure(ctx context.Context, then func(*pairing.Pair)) error {
	if err := measure.Pairs(ctx, c.forwards, c.opts.Bounds.Tolerance, c.opts.Progress, then); err != nil {
		return err
	}
	if err := measure.Copies(ctx, c.forwards, &c.notes, c.opts.Bounds.Tolerance, then); err != nil {
		return err
	}
	measure.SetAside(c.forwards, c.opts.Bounds.Set())
	experts := c.experts()
	if !c.opts.Bounds.Set() { // which hold for all tokens
		measure.Routing(ctx, c.forwards, experts, false, metric.DefaultTolerance)
	}
	if err := c.opts.Evidence.Gather(ctx, c.target, &c.notes, c.forwards, c.sel, experts); err != nil {
		return err
	}
	pairing.NameTokens(c.forwards, c.opts.TokenText)
	measure.Ranks(c.forwards, &c.notes)
	if err := measure.Logprobs(ctx, c.forwards, &c.notes, c.opts.TokenText); err != nil {
		return err
	}
	if c.opts.Bounds.Set() { // which ask for no origin
		return nil
	}
	measure.LogitsRows(c.forwards)
	return measure.Origins(ctx, c.forwards, measure.SameFiles)
}

// experts are those of the options, or what the sessions, or the evidence, say of them.
func (c *comparison) experts() measure.Experts {
	e := c.opts.Experts
	v := c.opts.Evidence
	for _, s := range []*il.Session{c.rawTarget, c.rawRef, v.Replay, v.Oracle, v.Floor} {
		if s == nil || e.Of != nil || e.PerToken > 0 {
			continue
		}
		if p := s.Provenance(); p != nil {
			e.PerToken, e.Biased = p.Model.ExpertsPerToken, p.Model.ExpertChoice == provenance.ChoiceBiased
		}
	}
	return e
}

// measured is what the judge is given.
func (c *comparison) measured() *judge.Input {
	o := c.opts
	return &judge.Input{
		RawRef: c.rawRef, RawTarget: c.rawTarget, Notes: c.notes, Forwards: c.forwards, Layers: c.layers,
		Rule: o.Evidence.Rule(), Policy: o.Policy != nil, RatioLimit: o.Evidence.RatioLimit, Bounds: o.Bounds, MinCoverage: o.MinCoverage,
		Clip: o.clip(), Logprobs: o.logprobBounds(),
		Unfinished: judge.Unfinished(c.rawRef.Unfinished(), c.rawTarget.Unfinished()),
		Setup:      setup.Differences(c.rawRef.Provenance(), c.rawTarget.Provenance()),
		Experts:    c.experts(),
	}
}

// verdict is the report, with what look tells of the calls that failed.
func verdict(m *judge.Input, look diagnose.Looker) *report.Report {
	r, b := m.Judge()
	diagnose.Explain(r, m.Forwards, b, look)
	return r
}

// logprobBounds are those of the policy, nil for none.
func (o *Options) logprobBounds() *report.LogprobBounds {
	if o.Policy == nil {
		return nil
	}
	return o.Policy.Logprobs
}

func (o *Options) clip() float64 {
	switch b := o.logprobBounds(); {
	case o.Clip != nil:
		return *o.Clip
	case b != nil && b.Clip != nil:
		return *b.Clip
	}
	return report.DefaultClip
}
