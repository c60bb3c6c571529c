package normalize

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// names gives a session of transformers the names of vLLM's modules where the
// other session has them, or where both shall have them. Tensors that only one
// of the two schemes has leave both sessions; rows are sessions that still tell
// the tokens and positions.
func names(ref, target *il.Session, both bool) (r, t *il.Session, rows [2]*il.Session, n Notes) {
	switch {
	case isHF(ref) && isVLLM(target):
		r, t, n.NoPartner = renamed(ref, target)
		n.Warnings = append(n.Warnings, "reference: "+hfNamed)
		return r, t, [2]*il.Session{withPositions(r), target}, n
	case isHF(target) && isVLLM(ref):
		t, r, n.NoPartner = renamed(target, ref)
		n.Warnings = append(n.Warnings, "target: "+hfNamed)
		return r, t, [2]*il.Session{ref, withPositions(t)}, n
	case both && isHF(ref) && isHF(target):
		r, a := underVLLMNames(ref, nil)
		t, b := underVLLMNames(target, nil)
		n.NoPartner = a.alone + b.alone
		n.Warnings = append(n.Warnings, hfNamed)
		return r, t, [2]*il.Session{withPositions(r), withPositions(t)}, n
	}
	return ref, target, [2]*il.Session{ref, target}, n
}

const hfNamed = "transformers' modules are compared under vLLM's names"

func isHF(s *il.Session) bool {
	c := conventionOf(s)
	return c == topology.Transformers || c == topology.LikeTransformers
}

func isVLLM(s *il.Session) bool {
	c := conventionOf(s)
	return c == topology.VLLM || c == topology.LikeVLLM
}

// conventionOf is whose names a session's modules have, by the name that tells
// most.
func conventionOf(s *il.Session) topology.Convention {
	most := topology.AnyConvention
	for m := range s.Modules() {
		most = max(most, topology.ConventionOf(m))
	}
	return most
}

// EngineOf tells by the names of a session's modules which engine ran them,
// "transformers" or "vllm", and its attention where they show it, "eager": what
// cannot be told is "". transformers returns the weights of its eager attention.
func EngineOf(s *il.Session) (engine, attention string) {
	switch {
	case isHF(s):
		if returnsWeights(s) {
			attention = "eager"
		}
		return "transformers", attention
	case isVLLM(s):
		return "vllm", ""
	}
	return "", ""
}

// returnsWeights reports whether an attention block returned a second tensor.
func returnsWeights(s *il.Session) bool {
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			if topology.LastWord(c.Module) == topology.SelfAttnName && c.Slot(il.Outputs, "1") != nil {
				return true
			}
		}
	}
	return false
}
