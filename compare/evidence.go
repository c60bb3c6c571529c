package compare

import (
	"context"
	"fmt"
	"slices"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/view"
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

	found []Measured // what each session has told
}

// Measured is how many tensors of the target a session of Evidence could be
// held against.
type Measured struct {
	Name    string `json:"name"`
	Dir     string `json:"dir"`
	Tensors int    `json:"tensors"`
}

// given reports whether there is any.
func (e *Evidence) given() bool { return e.Replay != nil || e.Oracle != nil }

// rule is the best that the evidence allows.
func (e *Evidence) rule() Rule {
	switch {
	case e.Replay != nil:
		return RuleReplay
	case e.Oracle != nil:
		return RuleFloor
	}
	return RuleNoise
}

// gather measures the target against the sessions of e and gives every tensor
// of the report what was found.
func (e *Evidence) gather(ctx context.Context, target *il.Session, fs []*forward, sel *selection) error {
	if (e.Oracle == nil) != (e.Floor == nil) {
		return fmt.Errorf("an oracle without a floor, or a floor without an oracle, tells nothing: give both")
	}
	if e.Replay != nil {
		found, err := e.against(ctx, "replay", e.Replay, target, sel)
		if err != nil {
			return err
		}
		each(fs, func(p *slotPair) {
			if x := found[p.Key]; x != nil {
				p.result.Local, p.replay = x.result.Gap, x.ref
			}
		})
	}
	if e.Oracle == nil {
		return nil
	}
	found, err := e.against(ctx, "oracle", e.Oracle, target, sel)
	if err != nil {
		return err
	}
	pair, err := e.against(ctx, "floor", e.Floor, target, sel)
	if err != nil {
		return err
	}
	_, lined, _, err := view.Prepare(target, e.Floor, view.Options{})
	if err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	floor, err := e.against(ctx, "oracle", e.Oracle, lined, sel)
	if err != nil {
		return err
	}
	each(fs, func(p *slotPair) {
		o, f, x := found[p.Key], floor[p.Key], pair[p.Key]
		if o != nil && f != nil && x != nil && !isInteger(o.result) && !isInteger(f.result) {
			p.result.Floor = newFloor(o.result.Gap, f.result.Gap, x.result.Gap, x.result.DTypes)
		}
	})
	return nil
}

// against measures how far target is from a session that holds the same
// tokens. Tensors of forwards with other tokens are left out, and it is an
// error where nothing is left: evidence that says nothing must not look like
// some that found nothing. Of a part that is told when all are together.
func (e *Evidence) against(ctx context.Context, name string, s, target *il.Session, sel *selection) (map[Key]*slotPair, error) {
	target, s, _, err := view.Prepare(target, s, view.Options{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := sameModel(s, target); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	fs := order(s, target, sel)
	workloads(fs)
	sel.narrow(fs)
	if name == "replay" {
		withoutTelling(fs)
	}
	if err := measure(ctx, fs, metric.DefaultTolerance, nil, nil); err != nil {
		return nil, err
	}
	out := map[Key]*slotPair{}
	each(fs, func(p *slotPair) { out[p.Key] = p })
	m := Measured{name, s.Dir, len(out)}
	if e.found = append(e.found, m); sel.own == nil {
		return out, m.check(target.Dir)
	}
	return out, nil
}

// withoutTelling leaves out calls that returned nothing: a part of a replay
// repeats the inputs of others' calls that tell the tokens.
func withoutTelling(fs []*forward) {
	for _, f := range fs {
		for _, c := range f.calls {
			if c.ref != nil && !slices.ContainsFunc(c.ref.Slots, func(s *il.Slot) bool { return s.Direction != il.Inputs }) {
				c.slots = nil
			}
		}
	}
}

// check refuses a session that tells nothing.
func (m Measured) check(target string) error {
	if m.Tensors == 0 {
		return fmt.Errorf("%s: %s and %s have no tensor of the same step, module and tokens in common; make it from the target (see ilref run --like and ilref replay)", m.Name, m.Dir, target)
	}
	return nil
}

// each visits the compared pairs of judged forwards.
func each(fs []*forward, f func(*slotPair)) {
	for _, fw := range fs {
		if fw.work != sameWork {
			continue
		}
		for _, c := range fw.calls {
			for _, p := range c.slots {
				if p.result != nil {
					f(p)
				}
			}
		}
	}
}
