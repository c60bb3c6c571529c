package ref

import (
	"context"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/model/nn"
)

// Part is what of a session is replayed, and what else is known of it.
type Part struct {
	Histories [][]int                            // token ids of requests that began before the session
	Own       func(module string, call int) bool // its calls; nil for all
	Ranks     Ranks                              // of tensors put together; nil for none
}

// ReplayPart is Replay of the part's calls. All calls of
// one module and index must be in one part, for attention needs its earlier
// ones. Of the others it shows the recorder the inputs that tell the tokens,
// so that a part can be lined up with other sessions as the whole can. It
// returns how many calls were computed.
func (e *Engine) ReplayPart(ctx context.Context, s *il.Session, part Part, rec Recorder, progress Progress) (int, []SkippedCall, error) {
	r := &replayer{engine: e, part: part, plans: map[int]requests.Step{}, needed: map[nn.Stateful]bool{}}
	if p := s.Provenance(); p != nil {
		r.ranks = p.Parallel.TP
	}
	r.views = []*view{{replayer: r, caches: map[int]*nn.Cache{}}}
	if err := r.plan(s, part.Histories); err != nil {
		return 0, nil, err
	}
	r.needStates()
	made := 0
	var skipped []SkippedCall
	for i, st := range s.Steps {
		if err := ctx.Err(); err != nil {
			return made, nil, err
		}
		r.begin(st)
		rec.SkipTo(st.Number)
		telling := requests.Telling(st)
		for _, c := range st.Calls {
			if err := ctx.Err(); err != nil {
				return made, nil, err
			}
			if own := part.Own; own != nil && !own(c.Module, c.Index) {
				r.other(c, slices.Contains(telling, c), rec)
			} else if err := r.call(c, rec); err != nil {
				skipped = append(skipped, SkippedCall{st.Number, c.Module, c.Index, err.Error()})
			} else {
				made++
			}
		}
		if err := rec.Err(); err != nil {
			return made, nil, err
		}
		progress.tell(st.Number, len(st.Calls), i+1, len(s.Steps))
	}
	return made, skipped, nil
}

// plan reads the rows of all steps as requests, where they are recorded.
func (r *replayer) plan(s *il.Session, histories [][]int) error {
	plan, err := rowsFor(s, histories)
	if err != nil {
		r.noPlan = err
		return nil
	}
	for _, st := range plan.Steps {
		r.plans[st.Number] = st
	}
	return r.engine.CheckPlan(plan)
}

// rowsFor reads whose the rows are. Replaying needs no tokens before them unless
// some are given.
func rowsFor(s *il.Session, histories [][]int) (*requests.Plan, error) {
	if len(histories) == 0 {
		return requests.ReadRows(s)
	}
	return requests.Read(s, histories)
}

// needStates finds the states inside the part's own modules.
func (r *replayer) needStates() {
	for _, m := range r.engine.Model.Modules() {
		if _, is := m.(nn.Stateful); is || r.part.Own == nil || !r.part.Own(m.Name(), 0) {
			continue
		}
		for _, s := range nn.StatesOf(m) {
			r.needed[s] = true
		}
	}
}

// other does for a call of another part what this one needs of it. What cannot
// be read is reported where it is missed.
func (r *replayer) other(c *il.Call, telling bool, rec Recorder) {
	m := r.engine.Model.Module(c.Module)
	if m, ok := m.(nn.Stateful); ok && r.needed[m] {
		if _, runs, err := r.prepare(c); err == nil {
			for _, x := range runs {
				m.Store(x.step, x.in)
			}
		}
	}
	if !telling || m == nil {
		return
	}
	if shown, err := r.views[0].beginning(c, m); err == nil {
		rec.SetCall(c.Module, c.Index)
		rec.Pre(c.Module, shown)
	}
}

// beginning is the arguments of a call up to the first that a hook recorded,
// with those that follow it in every call.
func (r *view) beginning(c *il.Call, m nn.Module) (il.Tuple, error) {
	var shown il.Tuple
	read := false
	for i, input := range m.Inputs() {
		switch {
		case input.Fixed:
			shown = append(shown, input.Value)
			continue
		case read:
			return shown, nil
		}
		x, err := r.input(c, m, i)
		if err != nil {
			return nil, err
		}
		shown, read = append(shown, x), true
	}
	return shown, nil
}
