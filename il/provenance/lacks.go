package provenance

import "strings"

// Lacks is what the form in which a session was recorded has no place for: not a
// loss, so another session's tensors of that kind are not missed in it. The zero
// value lacks nothing.
type Lacks struct {
	// Tool is what wrote the recording, in words: "SGLang's PassNNNNN.pt".
	Tool string `json:"tool,omitzero"`

	Inputs  bool     `json:"inputs,omitzero"`  // arguments of calls
	Outputs bool     `json:"outputs,omitzero"` // results of calls
	Blocks  bool     `json:"blocks,omitzero"`  // results of modules that hold others
	Later   bool     `json:"later,omitzero"`   // results of a call beyond its first
	Ropes   bool     `json:"ropes,omitzero"`   // calls of rotary embeddings
	Modules []string `json:"modules,omitzero"` // all of these modules' tensors
	Others  bool     `json:"others,omitzero"`  // modules that it names in no step
	Logits  bool     `json:"logits,omitzero"`  // the logits of the last forward
	Steps   bool     `json:"steps,omitzero"`   // forwards that it names nothing of
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
