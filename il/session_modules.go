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

// Architecture is one that has all modules of the session, nil where none has.
func (s *Session) Architecture() *topology.Architecture {
	return topology.Recognise(s.Modules(), s.ArchitectureName())
}

// ArchitectureName is the entry of config.json's "architectures" that the session says it is
// of, "" where it says nothing.
func (s *Session) ArchitectureName() string {
	if s.made == nil {
		return ""
	}
	return s.made.Model.Architecture
}
