package topology

import (
	"iter"
	"slices"
)

// Mapping is a tensor of vLLM's and what it is in transformers: Sources joined
// along the last dimension, nothing where there are none.
type Mapping struct {
	Module  string
	Index   int // the call
	Output  bool
	Slot    string
	Sources []Source
}

// Table is what the tensors of a model of so many layers are in transformers'
// modules.
type Table struct {
	Of       *Architecture // whose it is
	Mappings []Mapping
	alone    []Source // tensors of transformers that are none of vLLM's
	halved   []string // modules of vLLM; see Halved
	layers   int
	// HeadsFirst says that the norms over each head see heads before tokens, (1, nh, T, D).
	HeadsFirst bool
	// NoRope says that calls of the rope are not those of the layers in their order: they are of no
	// tensor in transformers.
	NoRope   bool
	mixed    bool                                // some layers have a mixture of experts in the place of the MLP
	handedOn func(s Source, layers int) []Source // within its layers; see Same
	// suited reports whether a model with such modules has a mapping; nil: it has all.
	suited func(modules iter.Seq[string], m Mapping) bool
	// fitted fits the mappings to the modules of a session; nil for nothing.
	fitted func(t *Table, modules iter.Seq[string])
	// sometimes are modules of layers that vLLM calls in some steps, and transformers in all.
	sometimes []string

	// Scaled says that what lm_head returns is scaled before it is the logits, outside any
	// module.
	Scaled bool
}

// Logits are the logits' mappings; vLLM logs them one step later.
func (t *Table) Logits() []Mapping {
	out := Mapping{LogitsProcessorName, 0, true, "", []Source{result(LMHeadName)}}
	if t.Scaled {
		out.Sources = nil
	}
	return []Mapping{{LogitsProcessorName, 0, false, "1", []Source{argument(LMHeadName)}}, out}
}

// Source is a tensor of a module of transformers.
type Source struct {
	Module string
	Output bool
	Arg    string // the argument, or the key of a result that has some
}

func argument(module string) Source { return Source{Module: module, Arg: "0"} }
func result(module string) Source   { return Source{Module: module, Output: true} }

// PositionsSource is recorded where transformers' rotary embedding is given its
// positions as an argument and not by keyword (releases before 5).
var PositionsSource = Source{Module: "model.rotary_emb", Arg: "1"}

// PositionsKeyword is the keyword by which later releases give the positions.
const PositionsKeyword = "position_ids"

// Sometimes reports whether vLLM calls a module in some steps alone.
func (t *Table) Sometimes(module string) bool {
	return slices.Contains(t.sometimes, Locate(module).Rel)
}

// Halved reports whether, of all sources of a mapping but the last, the pairs of each
// rotated head stand side by side, and in vLLM's the first of all before the second.
func (t *Table) Halved(m Mapping) bool { return m.Output && slices.Contains(t.halved, m.Module) }

// Same lists the tensors that are the same as one by the way transformers'
// modules hand them on, itself first.
func (t *Table) Same(s Source) []Source {
	switch s {
	case argument(FinalNormName):
		return []Source{s, result(InLayer(t.layers-1, ""))}
	case result(FinalNormName):
		return []Source{s, {Module: "model", Output: true, Arg: "last_hidden_state"}}
	}
	p := Locate(s.Module)
	in := func(rel string) Source { return argument(InLayer(p.Layer, rel)) }
	switch {
	case p.Layer < 0:
		return []Source{s}
	case s == in("mlp.gate_proj"), s == in(GateUpProjName), s == in(MLPName):
		return []Source{s, in(MLPName), in(GateUpProjName), in("mlp.gate_proj"), in("mlp.up_proj")}
	case s == result(InLayer(p.Layer, "mlp.gate_proj")):
		return []Source{s, in(ActFnName)}
	case s == result(InLayer(p.Layer, SelfAttnName)):
		return []Source{s, result(InLayer(p.Layer, OProjName))}
	case s == result(InLayer(p.Layer, MLPName)):
		return []Source{s, result(InLayer(p.Layer, DownProjName))}
	}
	if same := sharedExpertSame(s); same != nil {
		return same
	}
	return t.handedOn(s, t.layers)
}

// Alone reports whether a tensor of transformers is one of no module of vLLM.
func (t *Table) Alone(module string, output bool, slot string) bool {
	return t.Scaled && output && module == LMHeadName || slices.Contains(t.alone, Source{module, output, slot}) || TransformersAlone(module, output, slot)
}

// TransformersAlone reports whether a tensor of transformers is one of no
// module of vLLM: what its model, its rope and its activation return,
// attention's weights, and arguments by keyword.
func TransformersAlone(module string, output bool, slot string) bool {
	if !output && byKeyword(slot) || inTransformersAlone(module) || ofRouterAlone(module, output, slot) {
		return true
	}
	switch LastWord(module) {
	case "model":
		return module == "model"
	case "rotary_emb":
		return module == PositionsSource.Module
	case "act_fn":
		return output
	case "self_attn", "mlp", "feed_forward": // attention's weights, a router's scores
		return output && slot == "1"
	case "router", "experts": // scores, chosen experts, what each is given
		return true
	}
	return false
}

// inTransformersAlone reports whether a module of a layer is one of transformers
// that no module of vLLM stands for: an activation of half of what vLLM's is
// given, dropouts.
func inTransformersAlone(module string) bool {
	switch LastWord(module) {
	case "qk_norm":
		return true
	case "activation_fn", "resid_attn_dropout", "resid_mlp_dropout":
		return true
	}
	return inMixtureAlone(module)
}

// byKeyword reports whether a slot of arguments has a name in the place of a
// number.
func byKeyword(slot string) bool { return slot != "" && (slot[0] < '0' || slot[0] > '9') }

// TransformersTable is the mapping for a session of transformers with so many
// layers: of the architecture that the session it is compared with has (nil for
// none that is known), else of the first that has all its modules, and Llama's
// where none has.
func TransformersTable(modules iter.Seq[string], layers int, of *Architecture) *Table {
	for _, a := range append([]*Architecture{of}, architectures...) {
		if a == nil || a.Transformers == nil {
			continue
		}
		if t := a.Transformers(layers); t.holds(modules) {
			t.fit(modules)
			t.Of = a
			return t
		}
	}
	return llamaTransformers(layers)
}

// holds reports whether the table knows all modules of layers.
func (t *Table) holds(modules iter.Seq[string]) bool {
	known := map[string]bool{}
	for _, m := range t.Mappings {
		for _, s := range m.Sources {
			for _, x := range t.Same(s) {
				known[x.Module] = true
			}
		}
	}
	for _, s := range t.alone {
		known[s.Module] = true
	}
	for m := range modules {
		if !known[m] && Locate(m).Layer >= 0 && !inTransformersAlone(m) {
			return false
		}
	}
	return true
}
