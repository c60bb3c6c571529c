package il

import "github.com/ilref/ilref/topology"

// Convention is whose names the session's modules have, by the name that tells
// most.
func (s *Session) Convention() topology.Convention {
	most := topology.AnyConvention
	for m := range s.Modules() {
		most = max(most, topology.ConventionOf(m))
	}
	return most
}

// EngineByNames tells by the names of a session's modules which engine ran them,
// "transformers" or "vllm", and its attention where they show it, "eager": what
// cannot be told is "". transformers returns the weights of its eager attention.
// The era is the first of vLLM in which a model has modules of these names.
func (s *Session) EngineByNames() (engine, attention string, era topology.Era) {
	switch c := s.Convention(); {
	case c.IsTransformers():
		if s.ReturnsWeights() {
			attention = "eager"
		}
		return "transformers", attention, topology.Era2025
	case c.IsVLLM():
		return "vllm", "", s.Architecture().Era()
	}
	return "", "", topology.Era2025
}

// ReturnsWeights reports whether transformers' attention returned its weights, as
// eager attention alone does.
func (s *Session) ReturnsWeights() bool {
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			if c.AttentionWeights() != nil {
				return true
			}
		}
	}
	return false
}

// AttentionWeights are those of an attention of transformers, nil where the call
// returned none.
func (c *Call) AttentionWeights() *Slot {
	if topology.LastWord(c.Module) != topology.SelfAttnName {
		return nil
	}
	return c.Slot(Outputs, "1")
}
