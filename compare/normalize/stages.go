package normalize

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// The layers of a model share one rotary embedding, which vLLM lists under the
// first of them. Each stage of a pipeline has its own, under the stage's first
// layer: call k of model.layers.16.self_attn.rotary_emb is what a single
// process calls call 16+k of model.layers.0.self_attn.rotary_emb.

// oneRope gives the calls of the stages' rotary embeddings the names that a
// single process gives them, and tells which. Models that have several
// embeddings by nature say so, or call one more often than there are layers up to the
// next: their session is returned as it is.
func oneRope(s *il.Session) (*il.Session, []string) {
	if s.Architecture().SeveralRopes() {
		return s, nil
	}
	ropes := ropesOf(s)
	var warnings []string
	for i, r := range ropes {
		if i+1 < len(ropes) && ropes[i+1].in(r) && r.calls > ropes[i+1].layer-r.layer {
			return s, nil
		}
		if r.layer > 0 {
			warnings = append(warnings, fmt.Sprintf("%s, the rotary embedding of a pipeline stage, is taken as calls %d to %d of %s", r.name(), r.layer, r.layer+r.calls-1, r.first().name()))
		}
	}
	if warnings == nil {
		return s, nil
	}
	var steps []*il.Step
	for _, st := range s.Steps {
		out := &il.Step{Number: st.Number}
		for _, c := range st.Calls {
			if r, ok := ropeOf(c); ok && r.layer > 0 {
				d := *c
				d.Module, d.Index = r.first().name(), r.layer+c.Index
				c = &d
			}
			out.Calls = append(out.Calls, c)
		}
		steps = append(steps, out)
	}
	return derive(s, steps), warnings
}

// rope is a rotary embedding and the layer that it is listed under.
type rope struct {
	before, after string // the layer's number
	layer         int
	calls         int // of a step, at most
}

func (r rope) name() string       { return r.before + strconv.Itoa(r.layer) + r.after }
func (r rope) first() rope        { return rope{before: r.before, after: r.after} }
func (r rope) in(other rope) bool { return r.first().name() == other.first().name() }

// ropeOf takes the name of a rotary embedding within a layer apart.
func ropeOf(c *il.Call) (rope, bool) {
	m := topology.Of(c.Module)
	if m.Layer < 0 || m.Kind != topology.Rope {
		return rope{}, false
	}
	return rope{before: m.Prefix, after: "." + m.Rel, layer: m.Layer, calls: c.Index + 1}, true
}

// ropesOf lists the rotary embeddings of a session by layer.
func ropesOf(s *il.Session) []rope {
	var out []rope
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			r, ok := ropeOf(c)
			if !ok {
				continue
			}
			i := slices.IndexFunc(out, func(x rope) bool { return x.name() == r.name() })
			if i < 0 {
				out = append(out, r)
				continue
			}
			out[i].calls = max(out[i].calls, r.calls)
		}
	}
	slices.SortFunc(out, func(a, b rope) int {
		if d := strings.Compare(a.first().name(), b.first().name()); d != 0 {
			return d
		}
		return a.layer - b.layer
	})
	return out
}

// sameRopes reports whether two sessions list their rotary embeddings under the
// same layers.
func sameRopes(a, b *il.Session) bool {
	return slices.EqualFunc(ropesOf(a), ropesOf(b), func(x, y rope) bool { return x.name() == y.name() })
}
