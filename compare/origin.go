package compare

import (
	"context"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// origin is the output that a tensor was handed on from, by the bits: of a
// container's output one of its children's, in a Llama layer output 0 is that
// of mlp, which is that of down_proj, and output 1 the residual of
// post_attention_layernorm; of an input one that was made before it. nil where
// there is none.
type origin struct {
	of              *slotPair
	inRef, inTarget bool  // equal to the bit there
	err             error // it could not be found out
}

// onBothSides reports whether the tensor is another one, handed on.
func (o *origin) onBothSides() bool { return o != nil && o.inRef && o.inTarget }

// lookBack is how many outputs before it an input is looked for among: a layer
// makes fewer, and its modules take what was made there or in the one before.
const lookBack = 24

// sameBits tells whether one side (0 the reference, 1 the target) of two pairs
// holds the same tensor.
type sameBits func(a, b *slotPair, side int) (bool, error)

// findOrigins finds the origin of every compared tensor that may have one. It
// reads tensors only where the figures leave the question open.
func findOrigins(ctx context.Context, fs []*forward, same sameBits) error {
	for _, f := range fs {
		if f.work != sameWork {
			continue
		}
		var made []*slotPair // compared outputs, in the order in which they were returned
		walk(f.top, func(c *call) {
			for _, p := range c.slots {
				if p.Direction == inputs && ctx.Err() == nil {
					p.origin = originOfInput(p, made[max(0, len(made)-lookBack):], same)
				}
			}
		}, func(c *call) {
			children := comparedChildren(c)
			for _, p := range c.slots {
				if p.Direction != inputs && len(children) > 0 && ctx.Err() == nil {
					p.origin = originOfOutput(p, children, same)
				}
			}
			for _, p := range c.slots {
				if p.result != nil && p.Direction == outputs {
					made = append(made, p)
				}
			}
		})
	}
	return ctx.Err()
}

// originOfOutput looks among the outputs of a container's children, the last
// one first.
func originOfOutput(p *slotPair, children []*slotPair, same sameBits) *origin {
	if p.result == nil {
		return nil
	}
	for _, x := range children { // equal bits give equal figures: no need to read them again
		if sameGap(p.result, x.result) {
			return &origin{of: x, inRef: true, inTarget: true}
		}
	}
	return lastOrigin(p, children, same, func(x *slotPair) bool { return len(x.result.Shape) == len(p.result.Shape) })
}

// originOfInput looks among what was made before an input that differs.
func originOfInput(p *slotPair, made []*slotPair, same sameBits) *origin {
	if p.result == nil || p.result.Gap.Identical() || isInteger(p.result) {
		return nil
	}
	for _, x := range made {
		if sameGap(p.result, x.result) {
			return &origin{of: x, inRef: true, inTarget: true}
		}
	}
	return lastOrigin(p, made, same, func(x *slotPair) bool { return slices.Equal(x.result.Shape, p.result.Shape) })
}

// lastOrigin is the last pair that equals p on any side.
func lastOrigin(p *slotPair, among []*slotPair, same sameBits, maybe func(*slotPair) bool) *origin {
	for _, x := range slices.Backward(among) {
		if x.result.DTypes != p.result.DTypes || !maybe(x) {
			continue
		}
		inRef, err1 := same(p, x, 0)
		inTarget, err2 := same(p, x, 1)
		for _, err := range []error{err1, err2} {
			if err != nil {
				return &origin{of: x, err: err}
			}
		}
		if inRef || inTarget {
			return &origin{of: x, inRef: inRef, inTarget: inTarget}
		}
	}
	return nil
}

// sameGap reports whether two results are figure by figure the same.
func sameGap(a, b *Tensor) bool {
	x, y := a.Gap, b.Gap
	return a.DTypes == b.DTypes && slices.Equal(a.Shape, b.Shape) &&
		x.RelL2 == y.RelL2 && x.NormRatio == y.NormRatio && x.MaxAbs == y.MaxAbs && x.Equal == y.Equal && slices.Equal(x.MaxAbsAt, y.MaxAbsAt)
}

// comparedChildren are the compared outputs of the calls directly inside c.
func comparedChildren(c *call) []*slotPair {
	var out []*slotPair
	for _, k := range c.children {
		for _, p := range k.slots {
			if p.result != nil && p.Direction == outputs {
				out = append(out, p)
			}
		}
	}
	return out
}

// sameFiles reads the tensors.
func sameFiles(a, b *slotPair, side int) (bool, error) {
	file := func(p *slotPair) *il.TensorFile { return [2]*il.Slot{p.ref, p.target}[side].Tensors[0] }
	return equalFiles(file(a), file(b))
}

// sameDigests goes by what a part has written of them.
func sameDigests(a, b *slotPair, side int) (bool, error) {
	return a.bits[side] != "" && a.bits[side] == b.bits[side], nil
}

// equalFiles reports whether two files hold the same tensor.
func equalFiles(a, b *il.TensorFile) (same bool, err error) {
	err = il.WithBoth(a, b, func(x, y *tensor.Tensor) error {
		same = equalBits(x, y)
		return nil
	})
	return same, err
}
