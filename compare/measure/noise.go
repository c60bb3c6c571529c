package measure

import (
	"context"
	"fmt"
	"runtime"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/internal/workers"
	"github.com/ilref/ilref/tensor"
)

// replayed gives every pair what the replay tells of it: the gap, and how many
// times what rounding explains that is.
func replayed(ctx context.Context, fs []*pairing.Forward, found map[report.Key]*pairing.Pair) error {
	var ps []*pairing.Pair
	each(fs, func(p *pairing.Pair) {
		if x := found[p.Key]; x != nil {
			p.Result.ReplayGap, p.Replay, p.Noise = x.Result.Gap, x.Ref, x.Noise
			if p.Noise != nil && len(p.Noise.Tensors) == 1 && !p.Result.ReplayGap.Identical() {
				ps = append(ps, p)
			}
		}
	})
	errs := make([]error, len(ps))
	err := workers.Until(ctx, runtime.GOMAXPROCS(0), len(ps), func(int) {}, func(i int) { errs[i] = noiseOf(ps[i]) })
	for _, e := range errs {
		if err == nil {
			err = e
		}
	}
	return err
}

func noiseOf(p *pairing.Pair) error {
	f := p.Noise.Tensors[0]
	f.Load()
	err := f.With(func(z *tensor.Tensor) (err error) {
		if p.Result.Noise, err = metric.MeasureNoise(z); err == nil && p.Result.Noise.Values != p.Result.Gap.Values {
			err = fmt.Errorf("%s, expected that of %s", z, tensor.ShapeString(p.Result.Shape))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("replay: %s: %w", p.Noise.Tensors[0].File, err)
	}
	return nil
}
