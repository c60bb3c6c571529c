package metric

import (
	"testing"

	"github.com/ilref/ilref/tensor"
)

func BenchmarkMeasure(b *testing.B) {
	const n = 1 << 20
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(i%1999) - 999.5
	}
	for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float32, tensor.Float64} {
		x := tensor.FromFloat64s(d, v, 1024, 1024)
		for i := range v {
			v[i] *= 1 + 1e-3*float64(i%7)
		}
		y := tensor.FromFloat64s(d, v, 1024, 1024)
		b.Run(d.String(), func(b *testing.B) {
			b.SetBytes(int64(x.NumBytes() + y.NumBytes()))
			for b.Loop() {
				if _, err := Measure(x, y, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
