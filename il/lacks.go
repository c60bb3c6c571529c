package il

import (
	"slices"
	"strings"

	"github.com/ilref/ilref/topology"
)

// Lacks is what the form in which a session was recorded has no place for: not a
// loss, so another session's tensors of that kind are not missed in it. The zero
// value lacks nothing.
type Lacks struct {
	// Tool is what wrote the recording, in words: "SGLang's PassNNNNN.pt".
	Tool string `json:"tool"`

	Inputs  bool     `json:"inputs,omitempty"`  // arguments of calls
	Outputs bool     `json:"outputs,omitempty"` // results of calls
	Blocks  bool     `json:"blocks,omitempty"`  // results of modules that hold others
	Later   bool     `json:"later,omitempty"`   // results of a call beyond its first
	Ropes   bool     `json:"ropes,omitempty"`   // calls of rotary embeddings
	Modules []string `json:"modules,omitempty"` // all of these modules' tensors
	Others  bool     `json:"others,omitempty"`  // modules that it names in no step
	Logits  bool     `json:"logits,omitempty"`  // the logits of the last forward
	Steps   bool     `json:"steps,omitempty"`   // forwards that it names nothing of
}

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
		return (l.Others && !named[module] || l.excludes(module, d, slot)) && !held[at{module, d, slot}]
	}
}

// excludes reports whether the form has no place for a slot of a module.
func (l *Lacks) excludes(module string, d Direction, slot string) bool {
	kind := topology.Of(module).Kind
	switch {
	case d == PostFwdInputs, l.Inputs && d != Outputs, l.Outputs && d == Outputs,
		l.Blocks && d == Outputs && kind.IsBlock(), l.Ropes && kind == topology.Rope,
		l.Later && d == Outputs && slot != "" && slot != "0":
		return true
	}
	return slices.Contains(l.Modules, module)
}

// String says in a sentence what the recording is, and what it lacks.
func (l *Lacks) String() string {
	s := "recorded by " + l.Tool
	if l.Others {
		return s + ", which holds no tensors but those that it names: the other session's are not compared"
	}
	var parts []string
	for _, p := range []struct {
		lacks bool
		what  string
	}{
		{l.Inputs, "arguments of modules"},
		{l.Outputs, "results of modules"},
		{l.Blocks, "results of modules that hold others"},
		{l.Later, "results beyond the first"},
		{l.Ropes, "rotary embeddings"},
		{len(l.Modules) > 0, "tensors but the tokens of " + strings.Join(l.Modules, " and ")},
		{l.Logits, "logits of its last forward"},
		{l.Steps, "forwards but those that it names"},
	} {
		if p.lacks {
			parts = append(parts, p.what)
		}
	}
	if n := len(parts); n > 0 {
		s += ", which holds no " + strings.Join(parts[:n-1], ", no ")
		if n > 1 {
			s += " and no "
		}
		s += parts[n-1] + ": what the other session has of these is not compared"
	}
	return s
}
