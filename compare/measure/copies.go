package measure

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// tolerances chooses the tolerance of a pair by its types.
type tolerances = func(a, b tensor.DType) metric.Tolerance

// Copies measures every rank's copy where the ranks of a side do not hold alike
// what they must, and makes the copy that is farthest off the one that its pair
// compares: what is made of it is that far off too. then, where there is one, is
// called with every such pair.
func Copies(ctx context.Context, fs []*pairing.Forward, notes *normalize.Notes, tolerance tolerances, then func(*pairing.Pair)) error {
	return copies(ctx, fs, notes, tolerance, then, func(*pairing.Call) bool { return true })
}

// copies is Copies of the calls that of chooses.
func copies(ctx context.Context, fs []*pairing.Forward, notes *normalize.Notes, tolerance tolerances, then func(*pairing.Pair), of func(*pairing.Call) bool) error {
	if notes == nil {
		return nil
	}
	for _, f := range fs {
		for _, c := range f.Calls {
			if !of(c) {
				continue
			}
			for _, p := range c.Slots {
				if err := ctx.Err(); err != nil {
					return err
				}
				if measureCopies(ctx, p, notes, tolerance) && then != nil {
					then(p)
				}
			}
		}
	}
	return nil
}

// rankCopy is a rank's copy of a tensor.
type rankCopy struct {
	ref, target *il.TensorFile
	result      *report.TensorDiff
}

// measureCopies reports whether there were several and all were measured.
func measureCopies(ctx context.Context, p *pairing.Pair, notes *normalize.Notes, tolerance tolerances) bool {
	ref, target := Files(p)
	if ref == nil {
		return false
	}
	rs, ts := notes.Copies(ref), notes.Copies(target)
	if len(rs)+len(ts) == 0 {
		return false
	}
	if p.Bounds != nil {
		tolerance = p.Bounds.Tolerance
	}
	all := []rankCopy{{ref, target, p.Result}}
	for k := 1; k < max(len(rs), len(ts)); k++ {
		x := rankCopy{ref: copyOf(rs, k, ref), target: copyOf(ts, k, target)}
		var err error
		if x.result, err = gapOfFiles(ctx, p, x.ref, x.target, tolerance, nil); err != nil {
			unmeasured(p, err)
			return false
		}
		all = append(all, x)
	}
	worst := slices.MaxFunc(all, func(a, b rankCopy) int { return report.CompareGaps(a.result.Gap, b.result.Gap) })
	p.Result, p.Ref, p.Target = worst.result, holding(p.Ref, worst.ref), holding(p.Target, worst.target)
	p.Rounded = roundedAlike(ctx, p, rs, notes) && roundedAlike(ctx, p, ts, notes)
	if len(rs) == 0 && notes.Whole(target) {
		p.OddRank = oddRank(all)
	}
	return true
}

// roundedAlike reports whether copies of keys and values, which each rank computes
// for itself, differ by no more than kernels of unlike devices do. What is whole on
// every rank comes from one sum over all, and must be equal to the bit.
func roundedAlike(ctx context.Context, p *pairing.Pair, copies []*il.TensorFile, notes *normalize.Notes) bool {
	for k := 1; k < len(copies); k++ {
		x, err := gapOfFiles(ctx, p, copies[0], copies[k], metric.DefaultTolerance, nil)
		if err != nil || notes.Whole(copies[0]) || !(report.GapOf(x) <= rounding.Noise(x.DTypes[1])) {
			return false
		}
	}
	return true
}

// copyOf is copy k, or the tensor that stands for all.
func copyOf(copies []*il.TensorFile, k int, f *il.TensorFile) *il.TensorFile {
	if k < len(copies) {
		return copies[k]
	}
	return f
}

// holding is a slot with another tensor.
func holding(s *il.Slot, f *il.TensorFile) *il.Slot {
	return &il.Slot{Direction: s.Direction, Path: s.Path, Tensors: []*il.TensorFile{f}}
}

// oddRank says which rank's copy is off from the reference, "" where that is not
// one.
func oddRank(all []rankCopy) string {
	byGap := slices.SortedFunc(slices.Values(all), func(a, b rankCopy) int { return cmp.Compare(report.GapOf(b.result), report.GapOf(a.result)) })
	worst, next := byGap[0], byGap[1]
	if report.GapOf(worst.result) == report.GapOf(next.result) {
		return ""
	}
	return fmt.Sprintf("it is rank %s that is off from the reference, by rel_l2 %s, the others by at most %s",
		worst.target.Device, report.Num(report.GapOf(worst.result)), report.Num(report.GapOf(next.result)))
}
