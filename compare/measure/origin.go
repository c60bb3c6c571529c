package measure

import (
	"context"
	"slices"

	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
)

// lookBack is how many outputs before it an input is looked for among: a layer
// makes fewer, and its modules take what was made there or in the one before.
const lookBack = 24

// sameBits tells whether one side (0 the reference, 1 the target) of two pairs
// holds the same tensor.
type sameBits func(a, b *pairing.Pair, side int) (bool, error)

// Origins finds the origin of every compared tensor that may have one. It
// reads tensors only where the figures leave the question open.
func Origins(ctx context.Context, fs []*pairing.Forward, same sameBits) error {
	for _, f := range fs {
		if f.Work != pairing.SameWork {
			continue
		}
		var made []*pairing.Pair // compared outputs, in the order in which they were returned
		pairing.Walk(f.Top, func(c *pairing.Call) {
			for _, p := range c.Slots {
				if p.Direction == report.Inputs && ctx.Err() == nil {
					p.Origin = originOfInput(p, made[max(0, len(made)-lookBack):], same)
				}
			}
		}, func(c *pairing.Call) {
			children := pairing.ComparedChildren(c)
			for _, p := range c.Slots {
				if p.Direction != report.Inputs && len(children) > 0 && ctx.Err() == nil {
					p.Origin = originOfOutput(p, children, same)
				}
			}
			for _, p := range c.Slots {
				if p.Result != nil && p.Direction == report.Outputs {
					made = append(made, p)
				}
			}
		})
	}
	return ctx.Err()
}

// originOfOutput looks among the outputs of a container's children, the last
// one first.
func originOfOutput(p *pairing.Pair, children []*pairing.Pair, same sameBits) *pairing.Origin {
	if p.Result == nil {
		return nil
	}
	for _, x := range children { // equal bits give equal figures: no need to read them again
		if sameGap(p.Result, x.Result) {
			return &pairing.Origin{Of: x, InRef: true, InTarget: true}
		}
	}
	return lastOrigin(p, children, same, func(x *pairing.Pair) bool { return len(x.Result.Shape) == len(p.Result.Shape) })
}

// originOfInput looks among what was made before an input that differs.
func originOfInput(p *pairing.Pair, made []*pairing.Pair, same sameBits) *pairing.Origin {
	if p.Result == nil || p.Result.Gap.Identical() || report.IsInteger(p.Result) {
		return nil
	}
	for _, x := range made {
		if sameGap(p.Result, x.Result) {
			return &pairing.Origin{Of: x, InRef: true, InTarget: true}
		}
	}
	return lastOrigin(p, made, same, func(x *pairing.Pair) bool { return slices.Equal(x.Result.Shape, p.Result.Shape) })
}

// lastOrigin is the last pair that equals p on any side.
func lastOrigin(p *pairing.Pair, among []*pairing.Pair, same sameBits, maybe func(*pairing.Pair) bool) *pairing.Origin {
	for _, x := range slices.Backward(among) {
		if x.Result.DTypes != p.Result.DTypes || !maybe(x) {
			continue
		}
		inRef, err1 := same(p, x, 0)
		inTarget, err2 := same(p, x, 1)
		for _, err := range []error{err1, err2} {
			if err != nil {
				return &pairing.Origin{Of: x, Err: err}
			}
		}
		if inRef || inTarget {
			return &pairing.Origin{Of: x, InRef: inRef, InTarget: inTarget}
		}
	}
	return nil
}

// sameGap reports whether two results are figure by figure the same.
func sameGap(a, b *report.TensorDiff) bool {
	x, y := a.Gap, b.Gap
	return a.DTypes == b.DTypes && slices.Equal(a.Shape, b.Shape) &&
		x.RelL2 == y.RelL2 && x.NormRatio == y.NormRatio && x.MaxAbs == y.MaxAbs && x.Equal == y.Equal && slices.Equal(x.MaxAbsAt, y.MaxAbsAt)
}

// SameFiles reads the tensors.
func SameFiles(a, b *pairing.Pair, side int) (bool, error) {
	file := func(p *pairing.Pair) *il.TensorFile { return [2]*il.Slot{p.Ref, p.Target}[side].Tensors[0] }
	return pairing.EqualFiles(file(a), file(b))
}

// SameDigests goes by what a part has written of them.
func SameDigests(a, b *pairing.Pair, side int) (bool, error) {
	return a.Bits[side] != "" && a.Bits[side] == b.Bits[side], nil
}
