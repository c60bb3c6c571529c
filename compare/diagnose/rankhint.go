package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ilref/ilref/compare/measure"
	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/lint"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// sameTensor is the rel_l2 up to which two tensors are one, computed twice and of
// inputs that differ by noise; other heads, and parts of a sum, differ by about 1.
const sameTensor = 0.1

// rankHint recognises what ranks of the target hold in place of what they must:
// their parts of a sum, or another rank's keys and values.
func rankHint(c *pairing.Call, p *pairing.Pair, notes *normalize.Notes) string {
	ref, target := measure.Files(p)
	if ref == nil || p.Direction != report.Outputs {
		return ""
	}
	if p.Replay != nil && len(p.Replay.Tensors) == 1 {
		ref = p.Replay.Tensors[0]
	}
	copies := notes.Copies(target)
	switch c.Of.Sharding(true, p.Slot) {
	case topology.Replicated:
		if c.Of.Reduces && len(copies) > 1 {
			return partialSums(ref, copies)
		}
	case topology.PackedQKV, topology.KVColumn, topology.KVHeadAxis:
		if copies == nil {
			copies = []*il.TensorFile{target}
		}
		return otherHeads(ref, copies, notes)
	}
	return ""
}

// partialSums recognises a sum over ranks that was not taken on some of them.
func partialSums(ref *il.TensorFile, copies []*il.TensorFile) string {
	var sum, r []float64
	var torn []string
	least, right := 0.0, 0
	for _, f := range copies {
		err := il.WithBoth(ref, f, func(x, y *tensor.Tensor) error {
			g, err := metric.Measure(x, y, nil)
			if err != nil {
				return err
			}
			switch {
			case g.RelL2 > lint.PartialSum:
				if torn = append(torn, f.Device); least == 0 || g.RelL2 < least {
					least = g.RelL2
				}
			case g.RelL2 <= sameTensor:
				right++
			}
			sum, r, err = added(sum, x, y)
			return err
		})
		if err != nil {
			return ""
		}
	}
	const lost = "recorded before or without the all-reduce"
	switch {
	case right == 0 && sum != nil && relative(r, sum) <= sameTensor:
		return fmt.Sprintf("the partial sum of each rank, %s: what the %d ranks hold adds up to the reference", lost, len(copies))
	case right > 0 && len(torn) == 1:
		return fmt.Sprintf("rank %s holds what looks like its partial sum, %s: it is off by rel_l2 %s, the other ranks are right", torn[0], lost, report.Num(least))
	case right > 0 && len(torn) > 1:
		return fmt.Sprintf("the ranks %s hold what looks like their partial sums, %s: they are off by rel_l2 %s and more, the others are right", strings.Join(torn, ", "), lost, report.Num(least))
	}
	return ""
}

// added is a sum with y added, and x, of tensors that are worth the time; nil for
// others.
func added(sum []float64, x, y *tensor.Tensor) (_, r []float64, err error) {
	n := y.Numel()
	if n > hintValues || x.Numel() != n || !worthReading(x, n) || !worthReading(y, n) {
		return nil, nil, nil
	}
	r, t := make([]float64, n), make([]float64, n)
	if err := x.Float64s(r, 0); err != nil {
		return nil, nil, err
	}
	if err := y.Float64s(t, 0); err != nil {
		return nil, nil, err
	}
	for i, v := range sum {
		t[i] += v
	}
	return t, r, nil
}

// otherHeads recognises ranks that hold the keys and values of heads that belong
// to others.
func otherHeads(ref *il.TensorFile, copies []*il.TensorFile, notes *normalize.Notes) string {
	var found []string
	for _, f := range copies {
		_ = il.WithBoth(ref, f, func(x, y *tensor.Tensor) error {
			must, have := keysOf(notes.Parts(f, x)), keysOf(notes.Parts(f, y))
			if len(must) != len(have) {
				return nil
			}
			for i, h := range have {
				if sameViews(must[i], h) {
					continue
				}
				if k := slices.IndexFunc(must, func(m normalize.Part) bool { return sameViews(m, h) }); k >= 0 {
					found = append(found, fmt.Sprintf("rank %s holds the key and value heads that belong to rank %s", h.Device, must[k].Device))
				}
			}
			return nil
		})
	}
	if found == nil {
		return ""
	}
	return "key and value heads on the wrong rank: " + strings.Join(found, "; ")
}

// keysOf leaves of each rank's part its keys and values.
func keysOf(parts []normalize.Part) []normalize.Part {
	var out []normalize.Part
	most := 0
	for _, p := range parts {
		most = max(most, len(p.Views))
	}
	for _, p := range parts {
		if len(p.Views) == most { // others hold queries alone
			out = append(out, normalize.Part{Device: p.Device, Views: p.Views[most/2:]})
		}
	}
	return out
}

func sameViews(a, b normalize.Part) bool {
	for i, x := range a.Views {
		if g, err := metric.Measure(x, b.Views[i], nil); err != nil || !(g.RelL2 <= sameTensor) {
			return false
		}
	}
	return true
}
