package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/faults"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// fault is an error in a place of one call's result.
type fault struct {
	at     faults.Place
	slot   string
	kind   topology.Kind
	place  string  // element, row, column, head, tile, tensor
	share  float64 // of the place's values, as the root mean square of the error
	seed   uint64
	lo, hi [2]int // rows and columns of the place
}

var places = []string{"element", "row", "column", "head", "tile", "tensor"}

// newFault draws a call of a session that computes something, a place in its
// result and the size of the error, from 0.1 % to 100 % on a logarithmic scale. The
// names of the modules end in a suffix.
func newFault(rng *rand.Rand, s *il.Session, suffix string) fault {
	var calls []*il.Call
	var steps []int
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			k := topology.Of(c.Module).Kind
			if !strings.HasSuffix(c.Module, suffix) {
				continue
			}
			if k.IsLinear() || k.IsNorm() || k.IsHead() || k == topology.Activation || k == topology.Attention || k == topology.Rope {
				calls, steps = append(calls, c), append(steps, st.Number)
			}
		}
	}
	i := rng.IntN(len(calls))
	c := calls[i]
	f := fault{at: faults.Place{Step: steps[i], Module: c.Module, Call: c.Index}, kind: topology.Of(c.Module).Kind, place: places[rng.IntN(len(places))], seed: rng.Uint64()}
	f.share = 1e-3 * math.Pow(1e3, rng.Float64())
	slots := slices.DeleteFunc(slices.Clone(c.Slots), func(s *il.Slot) bool { return s.Direction != il.Outputs || len(s.Tensors) == 0 })
	slot := slots[0]
	f.slot = slot.Path
	_ = slot.Tensors[0].With(func(x *tensor.Tensor) error {
		width := x.Shape[len(x.Shape)-1]
		f.draw(rng, x.Numel()/width, width)
		return nil
	})
	return f
}

// draw chooses the rows and columns.
func (f *fault) draw(rng *rand.Rand, rows, width int) {
	const head, tile = 32, 16
	f.hi = [2]int{rows, width}
	some := func(d, n, size int) { // one of the runs of a size
		f.lo[d] = rng.IntN((n+size-1)/size) * size
		f.hi[d] = min(f.lo[d]+size, n)
	}
	switch f.place {
	case "element":
		some(0, rows, 1)
		some(1, width, 1)
	case "row":
		some(0, rows, 1)
	case "column":
		some(1, width, 1)
	case "head":
		some(1, width, head)
	case "tile":
		some(0, rows, tile)
		some(1, width, tile)
	}
}

// values is how many the place holds.
func (f *fault) values() int { return (f.hi[0] - f.lo[0]) * (f.hi[1] - f.lo[1]) }

// describe says where it is, and how large in units of noise.
func (f *fault) describe(size float64) string {
	return fmt.Sprintf("%s of %d values, %.3g times their noise (%.2g of them), at step %d %s (call %d)", f.place, f.values(), size, f.share, f.at.Step, f.at.Module, f.at.Call)
}

// inject puts the error where a hook sees the result.
func (f *fault) inject(r *faults.Run) {
	r.Leaving = append(r.Leaving, func(at faults.Place, out il.Value) {
		if at != f.at {
			return
		}
		t, ok := out.(*tensor.Tensor)
		if tuple, is := out.(il.Tuple); is {
			i, _ := strconv.Atoi(f.slot)
			t, ok = tuple.Tensor(i), true
		}
		if ok && t != nil {
			f.change(t)
		}
	})
}

func (f *fault) change(t *tensor.Tensor) {
	rng := rand.New(rand.NewPCG(f.seed, 0))
	faults.Edit(t, func(row int, v []float64) {
		if row < f.lo[0] || row >= f.hi[0] {
			return
		}
		for j := f.lo[1]; j < f.hi[1]; j++ {
			v[j] *= 1 + f.share*float64(2*rng.IntN(2)-1)
		}
	})
}

// named reports whether a report's first divergence is the call.
func (f *fault) named(r *report.Report) bool {
	d := r.FirstDivergence
	return r.Verdict == report.Fail && d != nil && d.Step == f.at.Step && d.Module == f.at.Module && d.Call == f.at.Call
}

// size is the rms of z in the place, by the replay: NaN where it tells none.
func (f *fault) size(replay *il.Session) (float64, error) {
	c := replay.Call(f.at.Step, f.at.Module, f.at.Call)
	if c == nil {
		return math.NaN(), nil
	}
	slot := c.Slot(il.Noise, f.slot)
	if slot == nil {
		return math.NaN(), nil
	}
	sum := 0.
	err := slot.Tensors[0].With(func(z *tensor.Tensor) error {
		width := z.Shape[len(z.Shape)-1]
		v := make([]float64, z.Numel())
		if err := z.Float64s(v, 0); err != nil {
			return err
		}
		for i := f.lo[0]; i < f.hi[0]; i++ {
			for _, z := range v[i*width+f.lo[1] : i*width+f.hi[1]] {
				sum += float64(z * z)
			}
		}
		return nil
	})
	return math.Sqrt(sum / float64(f.values())), err
}
