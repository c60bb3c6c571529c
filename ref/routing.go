package ref

import (
	"strings"

	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// Choice tells which experts a row of the scores of a router goes to, of the routers of the
// engine's model, by their names; nil of another module, and where the model has no
// routers.
func (e *Engine) Choice() func(module string, scores []float64) []int {
	of := map[string]*nn.Experts{} // by router
	for _, x := range e.Model.Modules() {
		if x.Spec().Kind == topology.Router {
			if m := expertsBeside(e.Model, x.Name()); m != nil {
				of[x.Name()] = m
			}
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

// expertsBeside are the experts of the block that a router is in, nil for none.
func expertsBeside(m *model.CausalLM, router string) *nn.Experts {
	block := router[:strings.LastIndexByte(router, '.')+1]
	for _, x := range m.Modules() {
		if e, ok := x.(*nn.Experts); ok && e.Name()[:strings.LastIndexByte(e.Name(), '.')+1] == block {
			return e
		}
	}
	return nil
}

// expertsOf says of a session how many experts a token has, and what chooses them; nothing
// where the model has no experts, or layers differ in it.
func expertsOf(m *model.CausalLM) (perToken int, choice string) {
	for _, x := range m.Modules() {
		e, ok := x.(*nn.Experts)
		if !ok {
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
