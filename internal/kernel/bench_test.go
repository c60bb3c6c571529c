package kernel

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"gonum.org/v1/gonum/blas"

	"github.com/ilref/ilref/tensor"
)

// shapes of the layers of a 1B model: rows, outputs, inputs.
var shapes = [][3]int{{1, 2048, 2048}, {1, 8192, 2048}, {16, 4096, 4096}, {128, 4096, 4096}, {512, 2048, 2048}, {512, 8192, 2048}}

func BenchmarkSgemm(b *testing.B) {
	for _, s := range shapes {
		m, n, k := s[0], s[1], s[2]
		rng := rand.New(rand.NewPCG(7, 8))
		x, w, y := random(rng, m*k), random(rng, n*k), make([]float32, m*n)
		bench(b, m, n, k, 4, func() {
			Implementation{}.Sgemm(blas.NoTrans, blas.Trans, m, n, k, 1, x, k, w, k, 0, y, n)
		})
	}
}

func BenchmarkDgemm(b *testing.B) {
	for _, s := range shapes {
		m, n, k := s[0], s[1], s[2]
		rng := rand.New(rand.NewPCG(7, 8))
		x, w, y := widen(random(rng, m*k)), widen(random(rng, n*k)), make([]float64, m*n)
		bench(b, m, n, k, 8, func() {
			Implementation{}.Dgemm(blas.NoTrans, blas.Trans, m, n, k, 1, x, k, w, k, 0, y, n)
		})
	}
}

func BenchmarkMatMul32(b *testing.B) {
	for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float16, tensor.Float8E4M3FN, tensor.Float8E5M2} {
		b.Run(d.String(), func(b *testing.B) {
			for _, s := range shapes {
				m, n, k := s[0], s[1], s[2]
				rng := rand.New(rand.NewPCG(7, 8))
				x, w, y := random(rng, m*k), encode(d, random(rng, n*k)), make([]float32, m*n)
				bench(b, m, n, k, d.Size(), func() {
					MatMul32(y, n, x, k, m, n, k, Weights{Data: w, DType: d}, false)
				})
			}
		})
	}
}

// BenchmarkMemory has more weights than a cache holds and as many threads as
// -cpu says: products of few rows beside a plain pass over the same bytes.
func BenchmarkMemory(b *testing.B) {
	const k = 2048
	weights := make([]byte, 512<<20)
	for i := range weights {
		weights[i] = byte(i*37+i>>8) & 0xbf // finite in every type
	}
	threads := runtime.GOMAXPROCS(0)
	stream := func(name string, f func(part []byte)) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var wg sync.WaitGroup
				for part := range slices.Chunk(weights, len(weights)/threads/(16*k)*(16*k)) {
					wg.Go(func() { f(part) })
				}
				wg.Wait()
			}
			b.ReportMetric(float64(len(weights))/(b.Elapsed().Seconds()/float64(b.N))/1e9, "GB/s")
			b.ReportMetric(0, "ns/op")
		})
	}
	stream("read", func(part []byte) { sink.Store(xor(part)) })
	for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float16, tensor.Float32, tensor.Float8E4M3FN, tensor.Float8E5M2} {
		for m := 1; m <= FewRows; m++ {
			stream(fmt.Sprintf("%s/%d", d, m), func(part []byte) {
				n := len(part) / (k * d.Size())
				MatMul32(make([]float32, m*n), n, make([]float32, m*k), k, m, n, k, Weights{Data: part, DType: d}, false)
			})
		}
	}
}

var sink atomic.Uint64

// xor reads every byte once.
func xor(b []byte) uint64 {
	var x0, x1, x2, x3 uint64
	for ; len(b) >= 32; b = b[32:] {
		x0 ^= binary.LittleEndian.Uint64(b)
		x1 ^= binary.LittleEndian.Uint64(b[8:])
		x2 ^= binary.LittleEndian.Uint64(b[16:])
		x3 ^= binary.LittleEndian.Uint64(b[24:])
	}
	return x0 ^ x1 ^ x2 ^ x3
}

// BenchmarkLoops has rows as long as a layer's.
func BenchmarkLoops(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	x, y, raw := random(rng, 8192), random(rng, 8192), make([]byte, 2*8192)
	for _, c := range []struct {
		name string
		loop func()
	}{
		{"Add", func() { Add(y, x) }},
		{"SumSquares", func() { SumSquares(x) }},
		{"Max", func() { Max(x) }},
		{"Exp2Scaled", func() { copy(y, x); Exp2Scaled(y, 1.25, -3) }},
		{"Silu", func() { copy(y, x); Silu(y) }},
		{"RoundBF16", func() { RoundBF16(x) }},
		{"Load32", func() { Load32(y, tensor.BFloat16, raw) }},
		{"Store32", func() { Store32(raw, tensor.BFloat16, y) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				c.loop()
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/float64(len(x))*1e9, "ns/element")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// bench reports floating-point operations, and the bytes of weights read.
func bench(b *testing.B, m, n, k, es int, f func()) {
	b.Run(fmt.Sprintf("%d,%d,%d", m, n, k), func(b *testing.B) {
		for b.Loop() {
			f()
		}
		seconds := b.Elapsed().Seconds() / float64(b.N) * 1e9
		b.ReportMetric(2*float64(m)*float64(n)*float64(k)/seconds, "GFLOP/s")
		b.ReportMetric(float64(n)*float64(k)*float64(es)/seconds, "GB/s")
		b.ReportMetric(0, "ns/op")
	})
}

// encode returns values of type d near v, for float8 any finite ones.
func encode(d tensor.DType, v []float32) []byte {
	out := make([]byte, len(v)*d.Size())
	if d.Size() > 1 {
		tensor.StoreFloat32(out, d, v)
		return out
	}
	for i := range out {
		out[i] = byte(i*37+i>>8) & 0xbf
	}
	return out
}
