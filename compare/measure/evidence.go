package measure

import (
	"context"
	"fmt"
	"slices"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/il"
)

// Evidence are sessions that tell more of the target than a second run can.
// Each holds the tokens and steps of the target and is lined up with it as the
// reference is; what they lack is judged between the two sessions.
type Evidence struct {
	// Replay holds what the right model returns for the target's own recorded
	// inputs (ilref replay TARGET), so that a module's gap is its own.
	Replay *il.Session
	// Oracle is an exact run and Floor one with the target's rounding points:
	// how far Floor is from Oracle is what rounding costs. Both or none.
	Oracle, Floor *il.Session
	RatioLimit    float64 // times what rounding costs that the target may be off; 0 means DefaultRatioLimit
	Vocabulary    int     // columns of the logits of all of them; 0 where not known but by reading them

	KVHeads int // key and value heads of the model that made them; 0 is unknown

	Found []report.Measured // what each session has told
}

// Given reports whether there is any.
func (e *Evidence) Given() bool { return e.Replay != nil || e.Oracle != nil }

// Columns is how many columns the logits of the evidence have, 0 where it has
// none.
func (e *Evidence) Columns() int {
	n := e.Vocabulary
	for _, s := range []*il.Session{e.Replay, e.Oracle, e.Floor} {
		if n == 0 && s != nil {
			n = normalize.Vocabulary(s)
		}
	}
	return n
}

// Rule is the best that the evidence allows.
func (e *Evidence) Rule() report.Rule {
	switch {
	case e.Replay != nil:
		return report.RuleReplay
	case e.Oracle != nil:
		return report.RuleFloor
	}
	return report.RuleNoise
}

// Gather measures the target, prepared with these notes, against the sessions of e
// and gives every tensor of the report what was found.
func (e *Evidence) Gather(ctx context.Context, target *il.Session, notes *normalize.Notes, fs []*pairing.Forward, sel *pairing.Selection, experts Experts) error {
	if (e.Oracle == nil) != (e.Floor == nil) {
		return fmt.Errorf("an oracle without a floor, or a floor without an oracle, tells nothing: give both")
	}
	if e.Replay != nil {
		found, err := e.against(ctx, "replay", e.Replay, target, notes, sel, experts)
		if err != nil {
			return err
		}
		if err := replayed(ctx, fs, found); err != nil {
			return err
		}
	}
	if e.Oracle == nil {
		return nil
	}
	found, err := e.against(ctx, "oracle", e.Oracle, target, notes, sel, experts)
	if err != nil {
		return err
	}
	beside, lined, known, err := align("floor", target, e.Floor, notes)
	if err != nil {
		return err
	}
	pair, err := e.measure(ctx, "floor", lined, beside, known, sel, experts)
	if err != nil {
		return err
	}
	floor, err := e.against(ctx, "oracle", e.Oracle, lined, nil, sel, experts)
	if err != nil {
		return err
	}
	each(fs, func(p *pairing.Pair) {
		o, f, x := found[p.Key], floor[p.Key], pair[p.Key]
		if o != nil && f != nil && x != nil && !report.IsInteger(o.Result) && !report.IsInteger(f.Result) {
			p.Result.NoiseRatio = rounding.NewNoiseRatio(o.Result.Gap, f.Result.Gap, x.Result.Gap, x.Result.DTypes)
			if x.Result.Whole != nil {
				p.Result.NoiseRatio.Whole = rounding.SizeOf(x.Result.Whole)
			}
		}
	})
	return nil
}

// align makes a session of evidence comparable with the target.
func align(name string, target, s *il.Session, before *normalize.Notes) (t, aligned *il.Session, notes *normalize.Notes, err error) {
	var n normalize.Notes
	if t, aligned, n, err = normalize.Prepare(target, s, normalize.Options{Before: before}); err == nil {
		err = pairing.SameModel(aligned, t)
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, aligned, &n, nil
}

// against measures how far target is from a session of evidence.
func (e *Evidence) against(ctx context.Context, name string, s, target *il.Session, notes *normalize.Notes, sel *pairing.Selection, experts Experts) (map[report.Key]*pairing.Pair, error) {
	target, s, notes, err := align(name, target, s, notes)
	if err != nil {
		return nil, err
	}
	return e.measure(ctx, name, s, target, notes, sel, experts)
}

// measure holds target against a session that was aligned with it and holds the
// same tokens. Tensors of forwards with other tokens are left out, and it is an
// error where nothing is left: evidence that says nothing must not look like
// some that found nothing. Of a part that is told when all are together.
func (e *Evidence) measure(ctx context.Context, name string, s, target *il.Session, notes *normalize.Notes, sel *pairing.Selection, experts Experts) (map[report.Key]*pairing.Pair, error) {
	fs := pairing.Order(s, target, sel)
	pairing.Workloads(fs)
	sel.Narrow(fs)
	if name == "replay" {
		withoutTelling(fs)
	}
	if err := Pairs(ctx, fs, metric.DefaultTolerance, nil, nil); err != nil {
		return nil, err
	}
	if err := copies(ctx, fs, notes, metric.DefaultTolerance, nil, func(c *pairing.Call) bool { return name != "replay" || sameInputs(c, notes) }); err != nil {
		return nil, err
	}
	Routing(ctx, fs, experts, name == "replay", metric.DefaultTolerance)
	out := map[report.Key]*pairing.Pair{}
	each(fs, func(p *pairing.Pair) { out[p.Key] = p })
	m := report.Measured{Name: name, Dir: s.Dir, Tensors: len(out)}
	if e.Found = append(e.Found, m); sel.Own == nil {
		return out, CheckEvidence(m, target.Dir)
	}
	return out, nil
}

// withoutTelling leaves out calls that returned nothing: a part of a replay
// repeats the inputs of others' calls that tell the tokens.
func withoutTelling(fs []*pairing.Forward) {
	for _, f := range fs {
		for _, c := range f.Calls {
			if c.Ref != nil && !slices.ContainsFunc(c.Ref.Slots, func(s *il.Slot) bool { return s.Direction != il.Inputs }) {
				c.Slots = nil
			}
		}
	}
}

// sameInputs reports whether the ranks were given the same in a call, as far as
// they should: else the replay's result of replicated tensors is the first rank's.
func sameInputs(c *pairing.Call, notes *normalize.Notes) bool {
	return !slices.ContainsFunc(c.Slots, func(p *pairing.Pair) bool {
		_, target := Files(p)
		return p.Direction == report.Inputs && target != nil && notes.Finding(target) != ""
	})
}

// CheckEvidence refuses a session that tells nothing.
func CheckEvidence(m report.Measured, target string) error {
	if m.Tensors == 0 {
		return fmt.Errorf("%s: %s and %s have no tensor of the same step, module and tokens in common; make it from the target (see ilref run --like and ilref replay)", m.Name, m.Dir, target)
	}
	return nil
}

// each visits the compared pairs of judged forwards.
func each(fs []*pairing.Forward, f func(*pairing.Pair)) {
	for _, fw := range fs {
		if fw.Work != pairing.SameWork {
			continue
		}
		for _, c := range fw.Calls {
			for _, p := range c.Slots {
				if p.Result != nil {
					f(p)
				}
			}
		}
	}
}
