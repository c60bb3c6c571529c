package topology

import (
	"iter"
	"slices"
)

// Architecture is the tree of modules of a model under vLLM's names.
type Architecture struct {
	Names []string // entries of config.json's "architectures"
	Eras  []Era    // in which vLLM has this tree; nil for all
	Root  []Child  // outside layers: model.embed_tokens, model.norm, logits_processor
	Layer []Child  // of a decoder layer, "" being the layer itself, in the order of named_modules
	Some  []string // those of Layer that not every layer or model has: of dense layers beside mixtures, or of a second shared rope
	Batch bool     // its tensors have a batch dimension of 1 before that of the tokens
	Ties  []Tie    // beside those of every decoder; see ties.go
	// Untied are ends of which those say what is not so here.
	Untied []End
	// OwnTies says that Ties are all, for the names or the arguments of the layer are not
	// those of other decoders.
	OwnTies bool
	// Transformers lists what the tensors of a model of so many layers are in
	// transformers' modules; nil where that is not known.
	Transformers func(layers int) *Table
}

// Era is a span of vLLM's history. Between the two, trees and calls of some models
// changed with the rounding points of the kernels.
type Era uint8

// The eras, the first being that of names which tell none.
const (
	Era2025 Era = iota // as of commit 15b8fef4 (2025-09-13), v0.10.2 to v0.19
	Era2026            // as of commit 017e9f44 (2026-08-17)
)

// Era is the first in which vLLM has this tree.
func (a *Architecture) Era() Era {
	if a == nil || len(a.Eras) == 0 {
		return Era2025
	}
	return a.Eras[0]
}

// Child is a module of a tree: its name, within its layer where it has one.
type Child struct {
	Name string
	Spec *Spec
}

// architectures are all that are known, the most usual first and the earlier era
// before the later: what several share is looked up in the first.
var architectures = []*Architecture{
	llama, phi3, qwen3, olmo2, mixtral2025, mixtral2026, qwen2Moe2025, qwen2Moe2026, qwen3Moe2025, qwen3Moe2026,
	graniteMoe2025, graniteMoe2026, glm, glm4, granite, cohere, gemma2, gemma3, gemma3Late, gptOss2025,
	gptOss2026, llama4For2025, llama4For2026, deepseek2025, deepseek2026, glm4Moe2025, glm4Moe2026, olmo3,
	exaone4, olmo22026, smolLM32025, smolLM32026,
}

// Modules lists the modules that are called in a model of so many layers, in the
// order of PyTorch's named_modules: the layers follow the embedding, and a module
// that all layers share is found in the first.
func (a *Architecture) Modules(layers int) []Module {
	var out []Module
	for _, c := range a.Root {
		if c.Spec.Kind == Head {
			continue // the logits processor is given it, and nothing calls it
		}
		out = append(out, a.Of(c.Name))
		if c.Spec.Kind != Embedding {
			continue
		}
		for i := range layers {
			for _, c := range a.Layer {
				if i == 0 || !c.Spec.Shared || slices.Contains(a.Some, c.Name) {
					out = append(out, a.Of(InLayer(i, c.Name)))
				}
			}
		}
	}
	return out
}

// ByName finds the architecture that config.json names in an era, nil where it is
// none of those here.
func ByName(name string, era Era) *Architecture {
	for _, a := range architectures {
		if slices.Contains(a.Names, name) && (a.Eras == nil || slices.Contains(a.Eras, era)) {
			return a
		}
	}
	return nil
}

// Recognise finds the architecture that has all the modules of a session, nil
// where none has: of several the first of the name that the session says, else one all of
// whose modules the session has, else the first.
func Recognise(modules iter.Seq[string], name ...string) *Architecture {
	left := append([]*Architecture(nil), architectures...)
	seen, second := map[string]bool{}, map[string]bool{} // names outside layers and within one; within the second
	logits, head := false, false
	for m := range modules {
		logits, head = logits || m == LogitsProcessorName, head || m == LMHeadName
		p := Locate(m)
		seen[p.Rel] = true
		if p.Layer == 1 {
			second[p.Rel] = true
		}
		n := 0
		for _, a := range left {
			if a.spec(p) != nil {
				left[n] = a
				n++
			}
		}
		if left = left[:n]; n == 0 {
			return nil
		}
	}
	left = slices.DeleteFunc(left, func(a *Architecture) bool { // transformers has the same modules, and calls its head
		return a.Batch && !logits && (head || len(name) == 0 || !slices.Contains(a.Names, name[0]))
	})
	if len(left) == 0 {
		return nil
	}
	named := func(a *Architecture) bool { return len(name) > 0 && slices.Contains(a.Names, name[0]) }
	complete := func(a *Architecture) bool { return a.completeIn(seen, second) }
	for _, fits := range []func(*Architecture) bool{func(a *Architecture) bool { return named(a) && complete(a) }, named, complete} {
		if i := slices.IndexFunc(left, fits); i >= 0 {
			return left[i]
		}
	}
	return left[0]
}

// SeveralRopes reports whether layers of another type may have a rope of their own; nil
// has one.
func (a *Architecture) SeveralRopes() bool { return a != nil && slices.Contains(a.Some, RotaryName) }

// completeIn reports whether a session has all modules that are called in every model of
// the architecture, and in its second layer those that layers do not share.
func (a *Architecture) completeIn(seen, second map[string]bool) bool {
	lacks := func(seen map[string]bool, c Child) bool {
		return c.Spec.Kind != Head && !seen[c.Name] && !slices.Contains(a.Some, c.Name)
	}
	return !slices.ContainsFunc(slices.Concat(a.Root, a.Layer), func(c Child) bool { return lacks(seen, c) }) &&
		(len(second) == 0 || !slices.ContainsFunc(a.Layer, func(c Child) bool { return !c.Spec.Shared && lacks(second, c) }))
}

// spec is the class of the module at a place, nil where the tree has none.
func (a *Architecture) spec(p Place) *Spec {
	tree := a.Root
	if p.Layer >= 0 {
		if p.Prefix != layersPrefix {
			return nil
		}
		tree = a.Layer
	}
	for _, c := range tree {
		if c.Name == p.Rel {
			return c.Spec
		}
	}
	return nil
}
