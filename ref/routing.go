package ref

import (
	"strings"

	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Choice tells which experts a row of the scores of a router goes to, of the routers of a
// model, by their names; nil of another module.
type Choice func(module string, scores []float64) []int

// Choices are the choices of the engine's model; nil where it has no routers.
func (e *Engine) Choices() Choice {
	return e.choices(func(r nn.Routing) nn.Routing { return r })
}

// ChoicesWithout are what they would be with a part of them left out, by what that is; none
// where experts are those of the largest scores.
func (e *Engine) ChoicesWithout() map[string]Choice {
	out := map[string]Choice{}
	for _, x := range e.Model.Modules() {
		m := mixtureOf(x)
		if m == nil {
			continue
		}
		for part := range nn.Without(m.Routing) {
			out[part] = e.choices(func(r nn.Routing) nn.Routing {
				if other, ok := nn.Without(r)[part]; ok {
					return other
				}
				return r
			})
		}
	}
	return out
}

func (e *Engine) choices(routing func(nn.Routing) nn.Routing) Choice {
	of := map[string]*nn.Experts{} // by router
	for _, x := range e.Model.Modules() {
		if x.Spec().Kind != topology.Router {
			continue
		}
		if m := expertsBeside(e.Model, x.Name()); m != nil {
			other := *m
			other.Routing = routing(m.Routing)
			if other.Like.Routing != nil {
				other.Like.Routing = routing(other.Like.Routing)
			}
			of[x.Name()] = &other
		}
	}
	if len(of) == 0 {
		return nil
	}
	return func(module string, scores []float64) []int {
		m := of[module]
		if m == nil || len(scores) != len(m.Experts) {
			return nil
		}
		return e.numerics.Choose(m, scores)
	}
}

// Weighing computes what the experts of a router return for hidden states (T, H) and its
// scores (T, E); nil where it cannot.
type Weighing func(module string, hidden, scores *tensor.Tensor) *tensor.Tensor

// OtherWeights are what the engine's experts return where they are weighed otherwise, by what
// that is.
func (e *Engine) OtherWeights() map[string]Weighing {
	out := map[string]Weighing{}
	for _, x := range e.Model.Modules() {
		if m := mixtureOf(x); m != nil {
			for how := range nn.OtherWeights(m.Routing) {
				out[how] = func(module string, hidden, scores *tensor.Tensor) *tensor.Tensor {
					return e.weighed(how, module, hidden, scores)
				}
			}
		}
	}
	return out
}

func (e *Engine) weighed(how, module string, hidden, scores *tensor.Tensor) *tensor.Tensor {
	m := expertsBeside(e.Model, module)
	if m == nil || nn.OtherWeights(m.Routing)[how] == nil || len(hidden.Shape) != 2 || len(scores.Shape) != 2 {
		return nil
	}
	h, _ := m.Experts[0].W2.Weight.Shape()
	if hidden.DType != e.DType() || !scores.DType.IsFloat() || hidden.Shape[0] != scores.Shape[0] || hidden.Shape[1] != h || scores.Shape[1] != len(m.Experts) {
		return nil // of another model
	}
	other := *m
	other.Routing, other.InPlace = nn.OtherWeights(m.Routing)[how], false
	return other.Mix(&nn.Step{Numerics: e.numerics, Hooks: nn.NoHooks{}}, hidden, scores)
}

// mixtureOf are the experts that a module is, nil for none.
func mixtureOf(m nn.Module) *nn.Experts {
	switch m := m.(type) {
	case *nn.Experts:
		return m
	case *nn.SharedFusedMoE:
		return &m.Experts
	}
	return nil
}

// expertsBeside are the experts of the block that a router is in, nil for none.
func expertsBeside(m *model.CausalLM, router string) *nn.Experts {
	block := router[:strings.LastIndexByte(router, '.')+1]
	for _, x := range m.Modules() {
		if e := mixtureOf(x); e != nil && e.Name()[:strings.LastIndexByte(e.Name(), '.')+1] == block {
			return e
		}
	}
	return nil
}

// expertsOf says of a session how many experts a token has, and what chooses them; nothing
// where the model has no experts, or layers differ in it.
func expertsOf(m *model.CausalLM) (perToken int, choice string) {
	for _, x := range m.Modules() {
		e := mixtureOf(x)
		if e == nil {
			continue
		}
		k, by := e.Routing.TopK(), provenance.ChoiceBiased
		if nn.ByScores(e.Routing) {
			by = provenance.ChoiceLargest
		}
		if perToken != 0 && (k != perToken || by != choice) {
			return 0, ""
		}
		perToken, choice = k, by
	}
	return perToken, choice
}
