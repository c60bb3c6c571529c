package diagnose

import (
	"fmt"

	"github.com/ilref/ilref/compare/measure"
	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// rankShare is how many times the gap of the other ranks the gap of one must
// be to be called its own.
const rankShare = 10

// blameRank adds to the reason of the first divergence which rank's part of the
// tensor is at fault, where it is one rank's. Where there is a replay it is what
// the target is measured by.
func blameRank(r *report.Report, c *pairing.Call, p *pairing.Pair, gaps map[string]float64) {
	worst, next, device := 0.0, 0.0, ""
	for d, g := range gaps {
		if g > worst {
			worst, next, device = g, worst, d
		} else {
			next = max(next, g)
		}
	}
	if len(gaps) < 2 || worst <= rankShare*next {
		return
	}
	why := fmt.Sprintf("%s; only what rank %s computed differs so (rel_l2 %s, elsewhere at most %s)", r.FirstDivergence.Why, device, report.Num(worst), report.Num(next))
	r.FirstDivergence.Why, c.Report.Why = why, why
	p.Result.Rank = device
}

// rankGaps measures each rank's part of a tensor, on the side that is put
// together of several.
func rankGaps(p *pairing.Pair, notes *normalize.Notes) (gaps map[string]float64) {
	ref, target := measure.Files(p)
	if ref == nil {
		return nil
	}
	if p.Replay != nil && len(p.Replay.Tensors) == 1 {
		ref = p.Replay.Tensors[0]
	}
	_ = il.WithBoth(ref, target, func(x, y *tensor.Tensor) (err error) {
		gaps, err = gapsOfRanks(target, x, y, notes)
		if len(gaps) < 2 && err == nil {
			gaps, err = gapsOfRanks(ref, x, y, notes)
		}
		return err
	})
	return gaps
}

// gapsOfRanks measures what came from each rank of the file that is put
// together.
func gapsOfRanks(f *il.TensorFile, x, y *tensor.Tensor, notes *normalize.Notes) (map[string]float64, error) {
	out := map[string]float64{}
	xs, ys := notes.Parts(f, x), notes.Parts(f, y)
	if len(xs) != len(ys) {
		return nil, nil
	}
	for i, part := range xs {
		for k := range part.Views {
			g, err := metric.Measure(part.Views[k], ys[i].Views[k], nil)
			if err != nil {
				return nil, err
			}
			out[part.Device] = max(out[part.Device], g.RelL2)
		}
	}
	return out, nil
}
