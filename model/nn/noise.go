package nn

import (
	"bytes"
	"math"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// Noisy is a module that knows how large the rounding error of every element of
// its results is: with the arguments and the weights at hand, it follows from
// the same sums that make the element.
//
// An element's noise is the standard deviation of what correct kernels return,
//
//	σ² = ulp(y0)²/12 + variance
//
// around the exact value y0: of the final rounding, uniform in half a last place
// either way, and of the other points where such a kernel may round
// (topology.Spec.Rounding). One rounding of a value c costs ulp(c)²/12, which is
// u²c²/6 on average where only the size of c is known, u being the unit roundoff.
type Noisy interface {
	Module
	// deviation sets d.z for result d.result of a call with arguments in, after
	// its Forward: the states hold the call's rows.
	deviation(o *ops[float32], s *Step, in il.Tuple, d *deviation)
}

// Deviation returns z = (recorded - y0) / σ of each element of a result of a
// call: how many times what rounding explains it is off, positive where it is too
// large in size. in are the arguments
// as they were before the call, replayed is the result that Forward made of them.
// Elements with the bits of replayed may be 0, for they are within half a last place
// of what is right. It returns nil where all are, where the types or the shapes
// are not alike, and where the module or the arithmetic knows no noise (float32
// and float64 are judged by norms).
func Deviation(s *Step, m Module, in il.Tuple, result int, recorded, replayed *tensor.Tensor) *tensor.Tensor {
	noisy, ok := m.(Noisy)
	o, half := s.ops.(*ops[float32])
	if !ok || !half || o.dtype.Size() != 2 || recorded.DType != o.dtype || replayed.DType != o.dtype || len(recorded.Shape) == 0 || !slices.Equal(recorded.Shape, replayed.Shape) {
		return nil
	}
	d := &deviation{format: formatOf(o.dtype), result: result, recorded: rowsOf(recorded), replayed: rowsOf(replayed)}
	for i := range d.recorded.n {
		if d.differs(i) {
			d.z = rowsOf(tensor.New(tensor.BFloat16, recorded.Shape...))
			noisy.deviation(o, s, in, d)
			return d.z.t
		}
	}
	return nil
}

// deviation is a result that is being held against the exact one.
type deviation struct {
	format
	result             int
	recorded, replayed rows
	z                  rows // bfloat16

	cap     float64 // c of results that become c*tanh(x/c); 0 for none
	divisor float64 // of results that are rounded, divided by it and rounded again; 0 for none
}

// differs reports whether any bit of row i does.
func (d *deviation) differs(i int) bool {
	return !bytes.Equal(d.recorded.bytes(i), d.replayed.bytes(i))
}

// noiseRow computes the exact values of a row of a result, and the variance of
// their noise without that of the final rounding.
type noiseRow func(row int, exact, variance []float32)

// byRows sets z of the rows that differ. exact is called once a thread.
func (d *deviation) byRows(o *ops[float32], exact func() noiseRow) {
	o.parallel(d.recorded.n, func() func(int) {
		row, set := exact(), d.setter(o)
		y0, v := make([]float32, d.recorded.width), make([]float32, d.recorded.width)
		return func(i int) {
			if d.differs(i) {
				clear(v)
				row(i, y0, v)
				set(i, 0, y0, v)
			}
		}
	})
}

// setter returns what sets z of a row, from a column on, for one thread.
func (d *deviation) setter(o *ops[float32]) func(row, col int, exact, variance []float32) {
	y, r := make([]float32, d.recorded.width), make([]float32, d.recorded.width)
	return func(row, col int, exact, variance []float32) {
		n, es := len(exact), o.dtype.Size()
		y, r := y[:n], r[:n]
		o.load(y, o.dtype, d.recorded.bytes(row)[col*es:][:n*es])
		o.load(r, o.dtype, d.replayed.bytes(row)[col*es:][:n*es])
		for i := range y {
			if y[i] == r[i] && math.IsInf(float64(y[i]), 0) || y[i] != y[i] && r[i] != r[i] {
				y[i] = 0 // as it must be
				continue
			}
			e, v := exact[i], variance[i]
			if d.cap > 0 {
				e, v = d.capped(e, v)
			}
			if d.divisor > 0 {
				v = float32((float64(v) + d.rounding(float64(e), 1)) / (d.divisor * d.divisor))
				e = float32(float64(e) / d.divisor)
			}
			y[i] = d.times(y[i], e, v)
		}
		const size = 2
		kernel.Store32(d.z.bytes(row)[col*size:][:n*size], tensor.BFloat16, y)
	}
}

// capped is c*tanh(x/c) of a value and its variance, each operation being rounded.
func (d *deviation) capped(x, variance float32) (y, v float32) {
	t := tanhOf(float64(x) / d.cap)
	slope := 1 - t*t
	before := float64(variance) + d.rounding(float64(x), 1) + d.rounding(float64(x)/d.cap, d.cap)
	return float32(d.cap * t), float32(before*slope*slope + d.rounding(t, d.cap))
}

// format is the type that results are rounded to.
type format struct {
	digits int     // of the significand behind the first
	least  int     // exponent of the least normal number
	u2     float64 // u²/6
}

func formatOf(d tensor.DType) format {
	f := format{digits: 7, least: -126}
	if d == tensor.Float16 {
		f = format{digits: 10, least: -14}
	}
	f.u2 = math.Ldexp(1, -2*(f.digits+1)) / 6
	return f
}

// ulp is the last place of values as large as x.
func (f *format) ulp(x float32) float64 {
	e := max(int(math.Float32bits(x)>>23&0xff)-127, f.least)
	return math.Float64frombits(uint64(e-f.digits+1023) << 52)
}

// rounding is the variance of rounding x once, in units of w.
func (f *format) rounding(x, w float64) float64 {
	e := f.ulp(float32(x)) * w
	return e * e / 12
}

// times is (y - exact) / σ, of the sign that exact has; infinite where one is
// finite and the other is not.
func (f *format) times(y, exact, variance float32) float32 {
	z := (float64(y) - float64(exact)) / math.Sqrt(f.rounding(float64(exact), 1)+float64(variance))
	if math.Signbit(float64(exact)) {
		z = -z
	}
	if z != z {
		return float32(math.Inf(1))
	}
	return float32(z)
}

// products is the variance of sums whose terms have squares adding up to c2: what
// rounding partial sums of any grouping costs.
func (f *format) products(c2 []float32) {
	kernel.Scale(c2, float32(f.u2))
}
