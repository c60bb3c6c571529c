package report

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/pyregex"
	"github.com/ilref/ilref/tensor"
)

// Policy says for single tensors what Options say for all: the first rule that
// matches a tensor decides. Tensors that no rule matches are judged by default.
type Policy struct {
	Rules    []PolicyRule
	Logprobs *LogprobBounds // of the tokens that were run; nil for none
}

// PolicyRule is what a policy says of the tensors that it matches. A condition
// that is not set matches all.
type PolicyRule struct {
	At        string          // where it is written, "policy.yaml:3"
	Module    *pyregex.Regexp // searched in the module's name, without call suffix
	DTypes    []tensor.DType  // one of them is the type in the reference or in the target
	Direction il.Direction
	Slot      *string // "0", "1_2", "" for a single output

	Bounds Bounds // none set: the default rule
	Skip   bool   // the tensors are not compared and stand outside coverage
	Reason string // for Skip
}

// Mismatched is the share of values that may be beyond the tolerance.
func (b *Bounds) Mismatched() float64 {
	if b.MaxMismatched == nil {
		return 0
	}
	return *b.MaxMismatched
}
