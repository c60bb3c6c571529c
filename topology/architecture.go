package topology

import "iter"

// Architecture is the tree of modules of a model under vLLM's names.
type Architecture struct {
	Names []string // entries of config.json's "architectures"
	Root  []Child  // outside layers: model.embed_tokens, model.norm, logits_processor
	Layer []Child  // of a decoder layer, "" being the layer itself, in the order of named_modules
	Ties  []Tie    // beside those of every decoder; see ties.go
	// Transformers lists what the tensors of a model of so many layers are in
	// transformers' modules; nil where that is not known.
	Transformers func(layers int) *Table
}

// Child is a module of a tree: its name, within its layer where it has one.
type Child struct {
	Name string
	Spec *Spec
}

// architectures are all that are known, the most usual first: what several
// share is looked up in the first.
var architectures = []*Architecture{llama, phi3, qwen3, olmo2}

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
				if i == 0 || !c.Spec.Shared {
					out = append(out, a.Of(InLayer(i, c.Name)))
				}
			}
		}
	}
	return out
}

// ByName finds the architecture that config.json names, nil where it is none of
// those here.
func ByName(name string) *Architecture {
	for _, a := range architectures {
		for _, n := range a.Names {
			if n == name {
				return a
			}
		}
	}
	return nil
}

// Recognise finds the architecture that has all the modules of a session, nil
// where none has.
func Recognise(modules iter.Seq[string]) *Architecture {
	left := append([]*Architecture(nil), architectures...)
	for m := range modules {
		p := Locate(m)
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
	return left[0]
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
