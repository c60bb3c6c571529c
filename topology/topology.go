// Package topology says what a module is, by its name: what it computes, what
// a hook sees go in and come out, how tensor parallelism spreads that over
// ranks, what it writes in place, where a kernel of it may round, and which
// tensors of other modules are the same to the bit.
//
// It knows names alone, of vLLM (v0.10 to v0.11, model_executor/models and
// model_executor/layers) and of transformers (4.49 to 5), and imports nothing:
// everything that reads sessions asks here instead of guessing from a name.
//
//	classes        what a class of modules is: [Spec]             spec.go, classes.go
//	architectures  which module of a tree is of which class       architecture.go, llama.go, ...
//	words          what an attribute name means in any tree       words.go
//	ties           tensors that are equal by the way of data      ties.go
//	transformers   which of its tensors are which of vLLM's       transformers*.go
//
// A new architecture is an entry: a file with an [Architecture], and its line in
// the list of architectures.
package topology

// Module is what is known of a module of a name.
type Module struct {
	Name string
	Place
	*Spec      // never nil
	Known bool // the name is one of an architecture; otherwise its last word was taken
}

// Of tells what a module is where the architecture is not known: by the words of
// its name, as all architectures here use them. An unknown name is of the class
// [Unknown], of which nothing is assumed.
func Of(module string) Module { return (*Architecture)(nil).Of(module) }

// Of tells what a module of the architecture is; one that the architecture
// does not name, or of which no architecture is known (nil), is what its name
// means elsewhere.
func (a *Architecture) Of(module string) Module {
	m := Module{Name: module, Place: Locate(module)}
	if a != nil {
		if m.Spec = a.spec(m.Place); m.Spec != nil {
			m.Known = true
			return m
		}
	}
	if m.Spec = byWord(m.Place); m.Spec == nil {
		m.Spec = unknownClass
	}
	return m
}

// InLayer is the name of a module of layer i in the architectures here:
// InLayer(3, "self_attn.o_proj"), InLayer(3, "") for the layer itself.
func InLayer(i int, rel string) string { return Place{layersPrefix, i, rel}.Name() }
