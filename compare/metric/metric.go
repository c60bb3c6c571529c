// Package metric measures the gap between two tensors of one shape, block by
// block, whatever their element types and strides.
//
// With the reference r, the target t and d = t - r, all in float64 and with
// sums in a fixed order, so that equal bytes give equal figures (of two half
// types, what is no sum takes d as a float32, which is off by 2^-24 of it where
// the two are far apart):
//
//	max_abs     max |d|
//	cosine      r·t / (‖r‖ ‖t‖), kept as 1 - cosine
//	rel_l2      ‖d‖ / ‖r‖
//	norm_ratio  ‖t‖ / ‖r‖
//	mismatched  values with |d| > atol + rtol |r|
//	scale       r·t / r·r, with its standard error
//	worst token and worst channel: the row and the column of the largest rel_l2
//	ulp         |d| in units of the coarser type's last place
//
// NaN and infinities stay out of the sums and are counted. A value that is
// NaN, or the same infinity, on both sides is no gap; any other pair with one
// of them is, and makes max_abs and rel_l2 infinite and the cosine and the
// norm ratio NaN. 0/0 is 0; the cosine of two zero vectors is 1, of one 0.
package metric

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/ilref/ilref/tensor"
)

// Gap is what lies between a reference and a target.
type Gap struct {
	Numel      int     `json:"numel"`               // logical elements
	Values     int     `json:"values"`              // real numbers compared: twice Numel for complex types
	MaxAbs     float64 `json:"max_abs"`             // largest |d|
	MaxAbsAt   []int   `json:"max_abs_at,omitzero"` // where it is, the first of equals; nil where nothing differs
	Reference  float64 `json:"reference"`           // the two values there
	Target     float64 `json:"target"`
	OneMinus   float64 `json:"one_minus_cosine"` // 1 - cosine, accurate near 0 and exactly 0 for equal values
	RelL2      float64 `json:"rel_l2"`
	NormRatio  float64 `json:"norm_ratio"`
	Mismatched int     `json:"mismatched"` // values outside the tolerance
	Equal      int     `json:"equal"`      // values that are equal; NaN equals NaN
	NaN        [2]int  `json:"nan"`        // values of the reference, of the target
	Inf        [2]int  `json:"inf"`
	NonFinite  int     `json:"non_finite"` // values where NaN or an infinity meets something else

	MeanAbs float64 `json:"mean_abs"` // mean |d|, over the finite values as are the next two
	RMSE    float64 `json:"rmse"`     // root of the mean d²
	MaxRel  float64 `json:"max_rel"`  // largest |d| / max(|r|, torch's atol of the type), noisy near 0

	// Of floating-point values; integers have none.
	Scale        *Scale  `json:"scale,omitzero"`         // nil where it is not finite
	WorstToken   *Worst  `json:"worst_token,omitzero"`   // the row, all dimensions but the last, with the largest rel_l2
	TokenMedian  float64 `json:"token_median"`           // of the rows' rel_l2, the upper end of a bucket of an eighth of a power of two
	WorstChannel *Worst  `json:"worst_channel,omitzero"` // the same of the columns, where there are ChannelRows
	ULP          *ULP    `json:"ulp,omitzero"`           // nil for types without a last place, such as int8
	Sides        *Sides  `json:"sides,omitzero"`         // nil where nobody asked
}

// ChannelRows is the least number of rows that tells a channel's gap from the
// noise of single values.
const ChannelRows = 16

// Scale is the factor s that brings s·r nearest to the target: r·t / r·r.
type Scale struct {
	MinusOne float64 `json:"minus_one"` // s - 1, accurate near 0
	StdErr   float64 `json:"stderr"`    // its standard error by least squares, values being independent
	// Signs is (rows larger - rows smaller) / √(both): beyond 4 rows agree on the
	// direction, which neither one huge row nor noise that a row shares brings about.
	Signs float64 `json:"signs"`
}

// Worst is a row or a column.
type Worst struct {
	Index  int     `json:"index"` // rows of more than two dimensions in C order
	RelL2  float64 `json:"rel_l2"`
	Values int     `json:"values"` // in it
}

// Cosine returns the cosine similarity.
func (g *Gap) Cosine() float64 { return 1 - g.OneMinus }

// Rows is the number of rows, all dimensions but the last; 0 where there are none.
func (g *Gap) Rows() int {
	if g.WorstToken == nil || g.WorstToken.Values == 0 {
		return 0
	}
	return g.Values / g.WorstToken.Values
}

// Identical reports whether every value is equal.
func (g *Gap) Identical() bool { return g.Equal == g.Values }

// block is the number of values of a row that are measured at a time: what is
// decoded stays in the first-level cache. Each block of a row is a sum of its
// own, and so is each row.
const block = 2048

// Measure compares two tensors of equal shape. tol nil means DefaultTolerance,
// and equality for integers. Integers are subtracted exactly, quantised types
// by their real values. It returns an error for unequal shapes, types without
// numeric values and tensors without data.
func Measure(r, t *tensor.Tensor, tol *Tolerance) (*Gap, error) {
	return MeasureContext(context.Background(), r, t, tol)
}

// MeasureContext is Measure that stops when ctx ends, with its error.
func MeasureContext(ctx context.Context, r, t *tensor.Tensor, tol *Tolerance) (*Gap, error) {
	if !slices.Equal(r.Shape, t.Shape) {
		return nil, fmt.Errorf("shapes differ: %s in the reference, %s in the target", tensor.ShapeString(r.Shape), tensor.ShapeString(t.Shape))
	}
	rv, tv := r.DType.ValuesPerElement(), t.DType.ValuesPerElement()
	switch {
	case r.Meta || t.Meta:
		return nil, fmt.Errorf("a tensor of device meta has no data")
	case rv == 0 || tv == 0:
		return nil, fmt.Errorf("no numeric values: %s in the reference, %s in the target", r.DType, t.DType)
	case rv != tv:
		return nil, fmt.Errorf("%s in the reference and %s in the target cannot be compared", r.DType, t.DType)
	}
	if tol == nil {
		d := DefaultTolerance(r.DType, t.DType)
		tol = &d
	}
	r1, t1, copies := foldBroadcast(r, t)
	m := newMeter(ctx, r1, t1, rv, *tol)
	g, err := m.measure(r1, t1)
	if err != nil {
		return nil, err
	}
	g.Numel = r.Numel()
	g.Values *= copies
	g.Mismatched *= copies
	g.Equal *= copies
	g.NonFinite *= copies
	for i := range 2 {
		g.NaN[i] *= copies
		g.Inf[i] *= copies
	}
	if m.maxAt >= 0 {
		g.MaxAbsAt = unravel(m.maxAt/rv, r1.Shape)
	}
	if w := g.WorstToken; w != nil && copies > 1 {
		w.Index = rowIndex(unravel(w.Index*m.rows.width/rv, r1.Shape), r.Shape)
	}
	if g.ULP != nil {
		g.ULP.multiply(copies)
	}
	return g, nil
}

// newMeter prepares for tensors of rv values an element.
func newMeter(ctx context.Context, r, t *tensor.Tensor, rv int, tol Tolerance) *meter {
	m := &meter{ctx: ctx, tol: tol, n: r.Numel() * rv, maxAt: -1, least: leastReference(r.DType, t.DType)}
	if r.DType.IsInt() && t.DType.IsInt() {
		return m
	}
	m.rows.width = m.n
	if d := len(r.Shape); d > 0 && m.n > 0 {
		m.rows.width = r.Shape[d-1] * rv
		m.channels.init(m.n/m.rows.width, m.rows.width)
	}
	m.ulps.init(r.DType, t.DType)
	return m
}

func (m *meter) measure(r, t *tensor.Tensor) (*Gap, error) {
	if r.DType.IsInt() && t.DType.IsInt() {
		if err := m.integers(r, t); err != nil {
			return nil, err
		}
		return m.gap(), nil
	}
	if err := m.floats(r, t); err != nil {
		return nil, err
	}
	g := m.gap()
	g.WorstToken, g.WorstChannel, g.ULP = m.rows.worst(), m.channels.worst(m.rows.n), m.ulps.result(m)
	g.TokenMedian = m.rows.median()
	if m.nonFinite == 0 && m.cosine == nil {
		g.Scale = m.scale()
	}
	return g, nil
}

// leastReference keeps the relative difference from dividing by what counts as
// nothing.
func leastReference(a, b tensor.DType) float64 {
	if l := DefaultTolerance(a, b).ATol; l > 0 {
		return l
	}
	return 1
}

// scale follows from r·d, without cancellation.
func (m *meter) scale() *Scale {
	if m.rr == 0 {
		return nil
	}
	k := m.rd / m.rr
	rest := max(0, m.dd-float64(float64(k*k)*m.rr))
	return &Scale{MinusOne: k, StdErr: math.Sqrt(rest / float64(max(1, m.n-1)) / m.rr), Signs: m.rows.signs()}
}

// foldBroadcast narrows the dimensions along which both tensors repeat one
// element (stride 0) to a single copy, so that an expanded tensor costs what
// it stores. No ratio changes; counts are to be multiplied by copies.
func foldBroadcast(r, t *tensor.Tensor) (*tensor.Tensor, *tensor.Tensor, int) {
	copies := 1
	for d, n := range r.Shape {
		if n > 1 && r.Stride[d] == 0 && t.Stride[d] == 0 && r.Quant == nil && t.Quant == nil {
			r, t = r.Narrow(d, 0, 1), t.Narrow(d, 0, 1)
			copies *= n
		}
	}
	return r, t, copies
}

// unravel turns a C-order index into coordinates.
func unravel(i int, shape []int) []int {
	at := make([]int, len(shape))
	for d := len(shape) - 1; d >= 0; d-- {
		at[d] = i % shape[d]
		i /= shape[d]
	}
	return at
}
