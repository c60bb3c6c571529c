package metric

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ilref/ilref/tensor"
)

// noisy is a tensor and one that is off by about a last place of bfloat16.
func noisy(d tensor.DType, shape ...int) (r, t *tensor.Tensor) {
	rng := rand.New(rand.NewPCG(1, 2))
	r, t = tensor.New(d, shape...), tensor.New(d, shape...)
	v := make([]float64, r.Numel())
	for _, x := range []*tensor.Tensor{r, t} {
		for i := range v {
			if x == r {
				v[i] = rng.NormFloat64()
			} else {
				v[i] *= 1 + 3e-3*rng.NormFloat64()
			}
		}
		tensor.StoreFloat64(x.Data, d, v)
	}
	return r, t
}

func BenchmarkMeasure(b *testing.B) {
	for _, shape := range [][]int{{512, 2048}, {1, 2048}, {4096, 128}} {
		for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float16, tensor.Float32, tensor.Float64} {
			x, y := noisy(d, shape...)
			b.Run(fmt.Sprint(d, tensor.ShapeString(shape)), func(b *testing.B) {
				b.SetBytes(int64(x.NumBytes() + y.NumBytes()))
				for b.Loop() {
					if _, err := Measure(x, y, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkLogits(b *testing.B) {
	x, y := noisy(tensor.Float32, 4, 128256)
	b.SetBytes(int64(x.NumBytes() + y.NumBytes()))
	for b.Loop() {
		if _, err := MeasureLogits(context.Background(), x, y); err != nil {
			b.Fatal(err)
		}
	}
}
