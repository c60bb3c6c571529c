package il

import (
	"slices"

	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/topology"
)

// Lacks is what the form of a recording has no place for.
type Lacks = provenance.Lacks

// Lacks is nil for a session of a logger, which has a place for everything.
func (s *Session) Lacks() *Lacks { return s.lacks }

// Describe says of a session in memory what its calls do not: what is odd about
// it, why it is not that of a run that has ended ("" where it is), and what its
// form lacks (nil for nothing).
func (s *Session) Describe(warnings []string, unfinished string, lacks *Lacks) {
	s.Warnings, s.unfinished, s.lacks = warnings, unfinished, lacks
}

// CannotHold tells which tensors a session's form has no place for: slots of a
// module, unless the session holds one in any step. It is nil for a form that has
// a place for everything.
func (s *Session) CannotHold() func(module string, d Direction, slot string) bool {
	l := s.lacks
	if l == nil {
		return nil
	}
	type at struct {
		module string
		d      Direction
		slot   string
	}
	held, named := map[at]bool{}, map[string]bool{}
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			named[c.Module] = true
			for _, x := range c.Slots {
				held[at{c.Module, x.Direction, x.Path}] = true
			}
		}
	}
	return func(module string, d Direction, slot string) bool {
		return (l.Others && !named[module] || excludes(l, module, d, slot)) && !held[at{module, d, slot}]
	}
}

// excludes reports whether the form has no place for a slot of a module.
func excludes(l *Lacks, module string, d Direction, slot string) bool {
	kind := topology.Of(module).Kind
	switch {
	case d == PostFwdInputs, l.Inputs && d != Outputs, l.Outputs && d == Outputs,
		l.Blocks && d == Outputs && kind.IsBlock(), l.Ropes && kind == topology.Rope,
		l.Later && d == Outputs && slot != "" && slot != "0":
		return true
	}
	return slices.Contains(l.Modules, module)
}
