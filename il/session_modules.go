package il

import (
	"iter"

	"github.com/ilref/ilref/topology"
)

// Modules are the names of the modules that were called, in the order of their
// first call.
func (s *Session) Modules() iter.Seq[string] {
	return func(yield func(string) bool) {
		seen := map[string]bool{}
		for _, st := range s.Steps {
			for _, c := range st.Calls {
				if seen[c.Module] {
					continue
				}
				if seen[c.Module] = true; !yield(c.Module) {
					return
				}
			}
		}
	}
}

// Architecture is one that has all modules of the session, nil where none has: that of the
// model, if it is known, else the first. Names alone do not tell Granite from Llama.
func (s *Session) Architecture() *topology.Architecture {
	for _, era := range []topology.Era{topology.Era2025, topology.Era2026} {
		if a := s.ModelArchitecture(era); a.Has(s.Modules()) {
			return a
		}
	}
	return topology.Recognise(s.Modules())
}

// ModelArchitecture is what is known of the model that ran, which in transformers has
// modules of other names; nil where nothing is.
func (s *Session) ModelArchitecture(era topology.Era) *topology.Architecture {
	name := s.model
	if p := s.Provenance(); name == "" && p != nil {
		name = p.Model.Architecture
	}
	return topology.ByName(name, era)
}

// TellModel says what model ran: an entry of its config.json's "architectures".
func (s *Session) TellModel(architecture string) { s.model = architecture }
