package ref

import (
	"context"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/model/nn"
)

// ReplayPart is Replay of the calls that own reports (nil: all). All calls of
// one module and index must be in one part, for attention needs its earlier
// ones. Of the others it shows the recorder the inputs that tell the tokens,
// so that a part can be lined up with other sessions as the whole can. It
// returns how many calls were computed.
func (e *Engine) ReplayPart(ctx context.Context, s *il.Session, histories [][]int, own func(module string, call int) bool, rec Recorder, progress Progress) (int, []Unreplayed, error) {
	r := &replayer{engine: e, modules: map[string]nn.Module{}, caches: map[int]*nn.Cache{}, plans: map[int]requests.Step{}, own: own, keys: map[int]bool{}}
	for _, m := range e.Model.Modules() {
		r.modules[m.Name()] = m
	}
	if err := r.plan(s, histories); err != nil {
		return 0, nil, err
	}
	r.needKeys()
	made := 0
	var skipped []Unreplayed
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
			if own != nil && !own(c.Module, c.Index) {
				r.other(c, slices.Contains(telling, c), rec)
			} else if err := r.call(c, rec); err != nil {
				skipped = append(skipped, Unreplayed{st.Number, c.Module, c.Index, err.Error()})
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
	plan, err := requests.Read(s, histories)
	if err != nil {
		r.noPlan = err
		return nil
	}
	for _, st := range plan.Steps {
		r.plans[st.Number] = st
	}
	return r.engine.CheckPlan(plan)
}

// needKeys finds the layers of the part's own self_attn and decoder layers.
func (r *replayer) needKeys() {
	for name, m := range r.modules {
		if r.own == nil || !r.own(name, 0) {
			continue
		}
		switch m := m.(type) {
		case *nn.SelfAttention:
			r.keys[m.Attn.Layer] = true
		case *nn.DecoderLayer:
			r.keys[m.SelfAttn.Attn.Layer] = true
		}
	}
}

// other does for a call of another part what this one needs of it. What cannot
// be read is reported where it is missed.
func (r *replayer) other(c *il.Call, telling bool, rec Recorder) {
	if m, ok := r.modules[c.Module].(*nn.Attention); ok && r.keys[m.Layer] {
		if _, in, s, err := r.prepare(c); err == nil {
			m.Store(s, in)
		}
	}
	if !telling {
		return
	}
	m := r.modules[c.Module]
	var shown il.Tuple
	if _, ok := m.(*nn.LogitsProcessor); ok {
		in, err := r.inputs(c, m)
		if err != nil {
			return
		}
		shown = in
	} else {
		x, err := r.read(c, il.Inputs, 0)
		if err != nil {
			return
		}
		shown = il.Tuple{x}
	}
	rec.SetCall(c.Module, c.Index)
	rec.Pre(c.Module, shown)
}
