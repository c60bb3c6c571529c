package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/tensor"
)

// everyLoop is everyKernel for the loops.
func everyLoop(t *testing.T, f func(t *testing.T)) {
	all := simdLoops
	defer func() { simdLoops = all }()
	for i, l := range all {
		simdLoops = all[i : i+1]
		t.Run(l.name, f)
	}
	simdLoops = nil
	t.Run("plain", f)
}

// TestLoops compares with one element at a time, over lengths that leave every
// remainder, and checks what lies behind the slice.
func TestLoops(t *testing.T) {
	everyLoop(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(21, 22))
		for i := range 400 {
			n := i % 70
			value := families[i%len(families)].value
			x, y, a := fill(rng, n, value), fill(rng, n, value), value(rng)
			check := func(name string, loop func(v []float32), want func(i int) float32) {
				t.Helper()
				v := append(append([]float32{}, y...), guard)
				loop(v[:n:n])
				require.Equal(t, float32(guard), v[n])
				for i, got := range v[:n] {
					require.Equal(t, math.Float32bits(quiet(want(i))), math.Float32bits(got), "%s of %v, %v, %v", name, y[i], x[i], a)
				}
			}
			check("add", func(v []float32) { Add(v, x) }, func(i int) float32 { return y[i] + x[i] })
			check("mul", func(v []float32) { Mul(v, x) }, func(i int) float32 { return y[i] * x[i] })
			check("scale", func(v []float32) { Scale(v, a) }, func(i int) float32 { return y[i] * a })
			check("exp2", func(v []float32) { Exp2Scaled(v, a, 1.25) }, func(i int) float32 { return float32(Exp2(float64(FMA32(y[i], a, 1.25)))) })
			check("silu", Silu[float32], func(i int) float32 { return y[i] / (1 + float32(Exp(float64(-y[i])))) })
			check("round to bfloat16", RoundBF16, func(i int) float32 { return tensor.RoundBF16(y[i]) })

			sums, squares, most := [16]float32{}, [16]float32{}, float32(math.Inf(-1))
			for i, v := range x {
				sums[i%16] += v
				squares[i%16] += float32(v * v)
				most = max(most, v)
			}
			sameBits(t, []float32{treeOf(sums), treeOf(squares), quiet(most + 0)}, []float32{Sum(x), SumSquares(x), Max(x)})
		}
	})
}

func treeOf(l [16]float32) float32 {
	pair := func(i int) float32 { return ((l[i] + l[i+8]) + (l[i+4] + l[i+12])) }
	return quiet((pair(0) + pair(2)) + (pair(1) + pair(3)))
}

// TestExponentialsOfEveryKind runs over the whole range of arguments, densely
// where results begin and end.
func TestExponentialsOfEveryKind(t *testing.T) {
	everyLoop(t, func(t *testing.T) {
		var v []float32
		for bits := uint32(0); bits < 1<<31; bits += 9973 {
			f := math.Float32frombits(bits)
			v = append(v, f, -f)
		}
		for i := range 2000 {
			v = append(v, -150+float32(i)*0x1p-9, -88+float32(i)*0x1p-9, 87+float32(i)*0x1p-9, 127+float32(i)*0x1p-10)
		}
		got2, silu := append([]float32{}, v...), append([]float32{}, v...)
		Exp2Scaled(got2, 1, 0)
		Silu(silu)
		for i, x := range v {
			if want := quiet(float32(Exp2(float64(x)))); math.Float32bits(want) != math.Float32bits(got2[i]) {
				t.Fatalf("2**%v: %v, expected %v", x, got2[i], want)
			}
			if want := quiet(x / (1 + float32(Exp(float64(-x))))); math.Float32bits(want) != math.Float32bits(silu[i]) {
				t.Fatalf("silu(%v): %v, expected %v", x, silu[i], want)
			}
		}
	})
}

// TestConversions runs over every 16-bit pattern, and over float32 patterns
// around every one.
func TestConversions(t *testing.T) {
	everyLoop(t, func(t *testing.T) {
		for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float16, tensor.Float32} {
			t.Run(fmt.Sprint(d), func(t *testing.T) {
				raw := make([]byte, 1<<16*d.Size())
				for i := range 1 << 16 {
					raw[d.Size()*i+d.Size()-2], raw[d.Size()*i+d.Size()-1] = byte(i), byte(i>>8)
				}
				want, got := make([]float32, 1<<16), make([]float32, 1<<16)
				tensor.LoadFloat32(want, d, raw)
				Load32(got, d, raw)
				for i := range want {
					if d == tensor.Float16 && want[i] != want[i] {
						want[i] = math.Float32frombits(math.Float32bits(want[i]) | 1<<22)
					}
				}
				sameBits(t, want, got)
				for _, by := range []uint32{0, 1, 0xfff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001} {
					v := make([]float32, 1<<16)
					for i := range v {
						v[i] = math.Float32frombits(uint32(i)<<16 + by)
					}
					wantRaw, gotRaw := make([]byte, len(raw)), make([]byte, len(raw))
					tensor.StoreFloat32(wantRaw, d, v)
					Store32(gotRaw, d, v)
					require.Equal(t, wantRaw, gotRaw)
					switch d {
					case tensor.BFloat16:
						RoundBF16(v)
					case tensor.Float16:
						RoundF16(v)
					}
					tensor.LoadFloat32(want, d, wantRaw)
					sameBits(t, want, v)
				}
			})
		}
	})
}
