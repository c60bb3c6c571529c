package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/tensor"
)

// nearPairs is n values and others that are equal, some last places off, or
// anything at all.
func nearPairs(rng *rand.Rand, n int, value func(*rand.Rand) float32) (r, t []float64) {
	r, t = make([]float64, n), make([]float64, n)
	for i := range r {
		r[i] = float64(value(rng))
		switch t[i] = r[i]; rng.IntN(6) {
		case 0:
			t[i] *= 1 + float64(rng.IntN(64)-32)*0x1p-12
		case 1:
			t[i] = float64(value(rng))
		case 2:
			t[i] *= 1 + 1e-3*rng.NormFloat64() // products are rounded
		case 3:
			t[i] *= 1.25 // just within the second tolerance
		}
	}
	return r, t
}

// TestPairsAssemblyEqualsPlain compares everything that a call leaves behind,
// bit by bit, over lengths with every remainder. Bytes end where a page does.
func TestPairsAssemblyEqualsPlain(t *testing.T) {
	if pairKernels == nil {
		t.Skip("no assembly here")
	}
	rng := rand.New(rand.NewPCG(31, 32))
	for i := range 500 {
		n := 1 + i%67
		if i%50 == 0 {
			n += 300 // more than is counted at the end
		}
		family := families[i%len(families)]
		r, x := nearPairs(rng, n, family.value)
		for _, rt := range PairTypes {
			for _, tt := range PairTypes {
				a, b := tensor.FromFloat64s(rt, r, n), tensor.FromFloat64s(tt, x, n)
				samePairs(t, fmt.Sprint(family.name, rt, tt, n), a, b)
			}
		}
	}
}

func samePairs(t *testing.T, name string, a, b *tensor.Tensor) {
	n := a.Numel()
	r, x := make([]float64, n), make([]float64, n)
	require.NoError(t, a.Float64s(r, 0))
	require.NoError(t, b.Float64s(x, 0))
	var got, want [2]*Pairs
	var channels [2][2][]float64
	for i, p := range []*[2]*Pairs{&want, &got} {
		dd, rr := make([]float64, n+1), make([]float64, n+1)
		dd[n], rr[n] = 42, 42
		for j := range p {
			p[j] = new(Pairs)
			p[j].Prepare(a.DType, b.DType, 1e-5*float64(1-j), []float64{1.6e-2, 0.25}[j], 1e-5, 8+3*j, -126+10*j)
			p[j].SetMaxRel(0.25)
			if i == 0 {
				p[j].measure(r, x, dd[:n], rr[:n])
			} else {
				p[j].Stored(atPageEnd(t, a.Data), atPageEnd(t, b.Data), dd[:n:n], rr[:n:n])
			}
		}
		require.Equal(t, [2]float64{42, 42}, [2]float64{dd[n], rr[n]})
		channels[i] = [2][]float64{dd, rr}
	}
	for j := range got {
		g, w := got[j], want[j]
		if dd, rr, tt, rd, abs := w.Sums(); !(abs+w.Max() <= math.MaxFloat64) {
			_, _, _, _, gotAbs := g.Sums()
			require.False(t, gotAbs+g.Max() <= math.MaxFloat64, name)
			continue
		} else {
			d2, r2, t2, rd2, abs2 := g.Sums()
			require.Equal(t, [5]float64{dd, rr, tt, rd, abs}, [5]float64{d2, r2, t2, rd2, abs2}, name)
		}
		require.Equal(t, w.vectors.dd, g.vectors.dd, name)
		require.Equal(t, [3]float64{w.Max(), w.Units(), 0}, [3]float64{g.Max(), g.Units(), 0}, name)
		require.Equal(t, [3]any{w.Exceeds(), w.Equal(), w.Mismatched()}, [3]any{g.Exceeds(), g.Equal(), g.Mismatched()}, name)
		for i := range PairBuckets {
			require.Equal(t, w.Count(i), g.Count(i), name)
		}
		require.Equal(t, channels[0], channels[1], name)
	}
}

// TestPairsOverflow has finite values whose difference is not: assembly and
// plain Go agree about them too, but for the sign of a NaN.
func TestPairsOverflow(t *testing.T) {
	rng := rand.New(rand.NewPCG(37, 38))
	for range 200 {
		r, x := nearPairs(rng, 67, families[0].value)
		for range 1 + rng.IntN(3) {
			i := rng.IntN(len(r))
			r[i], x[i] = math.MaxFloat64, -math.MaxFloat64*rng.Float64()
			if rng.IntN(2) == 0 {
				r[i], x[i] = x[i], r[i]
			}
		}
		var all [2][]any
		for j := range all {
			p, dd, rr := new(Pairs), make([]float64, len(r)), make([]float64, len(r))
			p.Prepare(tensor.Float64, tensor.Float64, 1e-5, 0.25, 1e-5, 53, -1022)
			p.SetMaxRel(3)
			if j == 0 {
				p.measure(r, x, dd, rr)
			} else {
				p.Values(r, x, dd, rr)
			}
			a, b, c, d, e := p.Sums()
			all[j] = []any{fmt.Sprint(a, b, c, d, e, dd, rr), p.Max(), p.Units(), p.Exceeds(), p.Equal(), p.Mismatched()}
			for i := range PairBuckets {
				all[j] = append(all[j], p.Count(i))
			}
		}
		require.Equal(t, all[0], all[1])
	}
}

func BenchmarkPairs(b *testing.B) {
	const n = 2048
	rng := rand.New(rand.NewPCG(33, 34))
	r, x := make([]float64, n), make([]float64, n)
	for i := range r {
		r[i] = rng.NormFloat64()
		x[i] = r[i] * (1 + 0.01*rng.NormFloat64())
	}
	dd, rr := make([]float64, n), make([]float64, n)
	for _, d := range PairTypes {
		u, v := tensor.FromFloat64s(d, r, n), tensor.FromFloat64s(d, x, n)
		var p Pairs
		p.Prepare(d, d, 1e-5, 1.6e-2, 1e-5, 8, -126)
		b.Run(d.String(), func(b *testing.B) {
			b.SetBytes(int64(2 * n * d.Size()))
			for b.Loop() {
				p.Stored(u.Data, v.Data, dd, rr)
			}
		})
	}
}

// TestSoftmaxAssemblyEqualsPlain has logits from equal to e**-800 apart.
func TestSoftmaxAssemblyEqualsPlain(t *testing.T) {
	if softmaxKernel == nil {
		t.Skip("no assembly here")
	}
	simd := softmaxKernel
	defer func() { softmaxKernel = simd }()
	rng := rand.New(rand.NewPCG(35, 36))
	for i := range 2000 {
		a, b := make([]float64, 1+i%70), make([]float64, 1+i%70)
		mostA, mostB := math.Inf(-1), math.Inf(-1)
		for j := range a {
			a[j] = rng.NormFloat64() * []float64{0, 1, 30, 300}[i%4]
			b[j] = a[j] + rng.NormFloat64()
			mostA, mostB = max(mostA, a[j]), max(mostB, b[j])
		}
		softmaxKernel = nil
		za, zb, cross := SoftmaxSums(a, b, mostA, mostB)
		softmaxKernel = simd
		za2, zb2, cross2 := SoftmaxSums(a, b, mostA, mostB)
		require.Equal(t, [3]float64{za, zb, cross}, [3]float64{za2, zb2, cross2})
	}
}
