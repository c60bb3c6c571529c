// Package measure reads the tensors: the gap of every pair, what sessions of
// evidence tell of it, and from which output its bits were handed on. What comes
// after rests on these facts, so that a part of a comparison can carry them.
package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/internal/workers"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Pairs finds the gap of every pair that can be compared. Pairs are measured
// at the same time, and the parts of a large one, which are always the same, so
// that the figures do not depend on how many goroutines there are. progress,
// where there is one, is called by one goroutine with how many of all pairs have
// been begun, and at the end with all of all. then, where there is one, is called
// with every pair that was measured.
func Pairs(ctx context.Context, fs []*pairing.Forward, tolerance func(a, b tensor.DType) metric.Tolerance, progress func(done, total int), then func(*pairing.Pair)) error {
	if progress == nil {
		progress = func(int, int) {}
	}
	todo := toMeasure(fs)
	begin := func(i int) { progress(i, len(todo)) }
	err := workers.Until(ctx, runtime.GOMAXPROCS(0)+waiting, len(todo), begin, func(i int) {
		p := todo[i]
		if p.Bounds != nil {
			measurePair(ctx, p, p.Bounds.Tolerance)
		} else {
			measurePair(ctx, p, tolerance)
		}
		if then != nil && p.Result != nil {
			then(p)
		}
	})
	if err == nil {
		progress(len(todo), len(todo))
	}
	return err
}

// waiting is the number of goroutines that may wait for a disk while others compute.
const waiting = 4

// toMeasure lists the pairs that can be compared. Of a forward that ran other
// tokens that is the token ids alone.
func toMeasure(fs []*pairing.Forward) []*pairing.Pair {
	var out []*pairing.Pair
	for _, f := range fs {
		for _, c := range f.Calls {
			for _, p := range c.Slots {
				if f.Work != pairing.SameWork && p.Status == pairing.Compared && (f.OtherLength || !isTokenIDs(p)) {
					p.Status, p.Why = pairing.OtherWorkload, "the sessions ran other tokens in this forward"
				}
				if p.Status == pairing.Compared {
					out = append(out, p)
				}
			}
		}
	}
	return out
}

// isTokenIDs recognises the tensor that tells the workload: it is compared in
// every forward where it can be.
func isTokenIDs(p *pairing.Pair) bool {
	return topology.Of(p.Module).Kind == topology.Embedding && p.Call == 0 && p.Direction == report.Inputs && p.Slot == "0"
}

// unusable says why a pair that both sessions hold cannot be compared.
type unusable struct{ why string }

func (e *unusable) Error() string { return e.why }

func measurePair(ctx context.Context, p *pairing.Pair, tolerance func(a, b tensor.DType) metric.Tolerance) {
	best, err := worstRank(ctx, p, tolerance, nil)
	if err != nil {
		unmeasured(p, err)
		return
	}
	p.Result = best
}

// unmeasured leaves a pair without a result: it cannot be compared, or not be read.
func unmeasured(p *pairing.Pair, err error) {
	p.Status, p.Why, p.Result = pairing.Unreadable, err.Error(), nil
	if u := (*unusable)(nil); errors.As(err, &u) {
		p.Status, p.Why = pairing.Skipped, u.why
	}
}

// worstRank compares the tensors of a slot. Of several ranks on one side only
// one is compared if all hold the same; of the same ranks on both sides each is
// compared with its own, and the worst is the result. The rows in left are left out.
func worstRank(ctx context.Context, p *pairing.Pair, tolerance func(a, b tensor.DType) metric.Tolerance, left *rowSet) (*report.TensorDiff, error) {
	r, t := p.Ref.Tensors, p.Target.Tensors
	if len(r) == len(t) && len(r) > 1 {
		var worst *report.TensorDiff
		for i := range r {
			x, err := gapOfFiles(ctx, p, r[i], t[i], tolerance, left)
			if err != nil {
				return nil, err
			}
			x.Rank = r[i].Device
			if worst == nil || report.CompareGaps(x.Gap, worst.Gap) > 0 {
				worst = x
			}
		}
		return worst, nil
	}
	if err := oneValue(r, t[0]); err != nil {
		return nil, err
	}
	if err := oneValue(t, r[0]); err != nil {
		return nil, err
	}
	return gapOfFiles(ctx, p, r[0], t[0], tolerance, left)
}

// oneValue refuses ranks that do not all hold the same tensor.
func oneValue(ranks []*il.TensorFile, other *il.TensorFile) error {
	for _, f := range ranks[1:] {
		same, err := pairing.EqualFiles(ranks[0], f)
		if err != nil {
			return err
		}
		if same {
			continue
		}
		shapes := make([]string, 0, 2)
		for _, x := range []*il.TensorFile{ranks[0], other} {
			if err := x.With(func(t *tensor.Tensor) error {
				shapes = append(shapes, tensor.ShapeString(t.Shape))
				return nil
			}); err != nil {
				return err
			}
		}
		if shapes[0] == shapes[1] {
			return &unusable{fmt.Sprintf("the ranks %s and %s hold different values of the same tensor %s", ranks[0].Device, f.Device, shapes[0])}
		}
		return &unusable{fmt.Sprintf("it is not known how this module spreads its tensors over ranks: %s on each of %s, %s on the other side", shapes[0], plural.Count(len(ranks), "rank"), shapes[1])}
	}
	return nil
}

// gapOfFiles measures two files, without the rows in left. A file that cannot be read is an error, a pair that
// cannot be compared an *unusable.
func gapOfFiles(ctx context.Context, p *pairing.Pair, r, t *il.TensorFile, tolerance func(a, b tensor.DType) metric.Tolerance, left *rowSet) (*report.TensorDiff, error) {
	r.Load()
	t.Load()
	out := &report.TensorDiff{Key: p.Key}
	err := il.WithBoth(r, t, func(x, y *tensor.Tensor) error {
		x, _ = left.without(x)
		y, out.LeftOut = left.without(y)
		tol := tolerance(x.DType, y.DType)
		g, err := metric.MeasureContext(ctx, x, y, &tol)
		if err != nil {
			return &unusable{err.Error()}
		}
		out.DTypes, out.Shape, out.Gap = [2]tensor.DType{x.DType, y.DType}, slices.Clone(x.Shape), g
		if pairing.IsLogitsOutput(p.Key) {
			out.Logits, err = metric.MeasureLogits(ctx, x, y)
		}
		if err == nil && rounding.MovesBits(p.Module, out.DTypes, g) {
			g.Sides, err = metric.MeasureSides(x, y)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
