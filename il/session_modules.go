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

// Architecture is one that has all modules of the session, nil where none has. Names alone
// do not tell Granite from Llama.
func (s *Session) Architecture() *topology.Architecture {
	return topology.Recognise(s.Modules(), s.ArchitectureName())
}

// ModelArchitecture is what is known of the model that ran, which in transformers has
// modules of other names; nil where nothing is.
func (s *Session) ModelArchitecture(era topology.Era) *topology.Architecture {
	return topology.ByName(s.ArchitectureName(), era)
}

// ArchitectureName is the entry of config.json's "architectures" of the model that ran: what
// was told, or what the session says; "" where nothing is known.
func (s *Session) ArchitectureName() string {
	if p := s.Provenance(); s.model == "" && p != nil {
		return p.Model.Architecture
	}
	return s.model
}

// TellModel says what model ran: an entry of its config.json's "architectures".
func (s *Session) TellModel(architecture string) { s.model = architecture }
