package pairing

import (
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// Origin is the output that a tensor was handed on from, by the bits: of a
// container's output one of its children's, in a Llama layer output 0 is that
// of mlp, which is that of down_proj, and output 1 the residual of
// post_attention_layernorm; of an input one that was made before it. nil where
// there is none.
type Origin struct {
	Of              *Pair
	InRef, InTarget bool  // equal to the bit there
	Err             error // it could not be found out
}

// OnBothSides reports whether the tensor is another one, handed on.
func (o *Origin) OnBothSides() bool { return o != nil && o.InRef && o.InTarget }

// ComparedChildren are the compared outputs of the calls directly inside c.
func ComparedChildren(c *Call) []*Pair {
	var out []*Pair
	for _, k := range c.Children {
		for _, p := range k.Slots {
			if p.Result != nil && p.Direction == report.Outputs {
				out = append(out, p)
			}
		}
	}
	return out
}

// EqualFiles reports whether two files hold the same tensor.
func EqualFiles(a, b *il.TensorFile) (same bool, err error) {
	err = il.WithBoth(a, b, func(x, y *tensor.Tensor) error {
		same = tensor.SameBits(x, y)
		return nil
	})
	return same, err
}
