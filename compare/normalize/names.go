package normalize

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// names gives a session of transformers the names of vLLM's modules where the
// other session has them, or where both shall have them. Tensors that only one
// of the two schemes has leave both sessions; rows are sessions that still tell
// the tokens and positions, by which rows are lined up if lined says so.
func names(ref, target *il.Session, both, lined bool) (r, t *il.Session, rows [2]*il.Session, n Notes) {
	switch {
	case isHF(ref) && isVLLM(target):
		r, t, told, alone := renamed(ref, target, lined)
		n.NoPartner = alone
		n.Warnings = append(n.Warnings, "reference: "+hfNamed)
		return r, t, [2]*il.Session{told, target}, n
	case isHF(target) && isVLLM(ref):
		t, r, told, alone := renamed(target, ref, lined)
		n.NoPartner = alone
		n.Warnings = append(n.Warnings, "target: "+hfNamed)
		return r, t, [2]*il.Session{ref, told}, n
	case isHF(ref) && isHF(target):
		r, a := underVLLMNames(ref, nil, flat)
		t, b := underVLLMNames(target, nil, flat)
		told := func(s *il.Session) *il.Session {
			s, _ = underVLLMNames(s, nil, lastRows)
			return withPositions(s)
		}
		rows := [2]*il.Session{told(ref), told(target)}
		other, logits := sameTokens(r, t, rows)
		if !both && !(other && lined) {
			return ref, target, [2]*il.Session{ref, target}, Notes{Logits: logits}
		}
		n.NoPartner = a.alone + b.alone
		n.Warnings = append(n.Warnings, hfNamed)
		return r, t, rows, n
	}
	return ref, target, [2]*il.Session{ref, target}, n
}

const hfNamed = "transformers' modules are compared under vLLM's names"

func isHF(s *il.Session) bool   { return named(s, topology.Transformers) && !named(s, topology.VLLM) }
func isVLLM(s *il.Session) bool { return named(s, topology.VLLM) }

// named reports whether a module has a name that one convention alone has.
func named(s *il.Session, convention topology.Convention) bool {
	for m := range s.Modules() {
		if topology.ConventionOf(m) == convention {
			return true
		}
	}
	return false
}
