package metric

import (
	"math"

	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// ULP is how far values are apart in units of the last place: that of the
// coarser of the two types at the larger of the two values, so that the two
// sides may be exchanged and values beside 0 are not astronomically far apart.
type ULP struct {
	P99 float64 `json:"p99"` // P99 is the lower end of its bucket, exact up to 16
	Max float64 `json:"max"`
	// Histogram counts values less than 1 apart (of one type: equal), then in
	// [1,2), [2,4), [4,8), … up to the largest.
	Histogram []int `json:"histogram,omitzero"`
}

func (u *ULP) multiply(copies int) {
	for i := range u.Histogram {
		u.Histogram[i] *= copies
	}
}

// format is where a binary type's last place is: precision counts the hidden
// bit, least is the exponent of its smallest normal number.
type format struct{ precision, least int }

func formatOf(d tensor.DType) (format, bool) {
	switch d {
	case tensor.Float64, tensor.Complex128:
		return format{53, -1022}, true
	case tensor.Float32, tensor.Complex64:
		return format{24, -126}, true
	case tensor.Float16, tensor.Complex32:
		return format{11, -14}, true
	case tensor.BFloat16, tensor.BComplex32:
		return format{8, -126}, true
	case tensor.Float8E4M3FN:
		return format{4, -6}, true
	case tensor.Float8E4M3FNUZ:
		return format{4, -7}, true
	case tensor.Float8E5M2:
		return format{3, -14}, true
	case tensor.Float8E5M2FNUZ:
		return format{3, -15}, true
	}
	return format{}, false
}

// stepBits divide each power of two.
const stepBits = kernel.PairStepBits

// ulps counts distances in the buckets of kernel.Pairs: whole numbers, as those
// of one type are, are told apart up to 16.
type ulps struct {
	known bool
	format
	max   float64
	zeros int // equal values, which are in the first bucket too
	count [kernel.PairBuckets]int
}

func (u *ulps) init(a, b tensor.DType) {
	x, ok1 := formatOf(a)
	y, ok2 := formatOf(b)
	if u.known = ok1 && ok2; !u.known {
		x = format{1, 0} // any: the counts are not used
	} else if y.precision < x.precision {
		x = y
	}
	u.format = x
}

// take adds the counts of p, the largest distance being known.
func (u *ulps) take(p *kernel.Pairs) {
	top := int(math.Float64bits(u.max)>>(52-stepBits)) - kernel.PairFirstBucket
	for i := range min(max(top, 0), kernel.PairBuckets-1) + 1 {
		u.count[i] += p.Count(i)
	}
}

func (u *ulps) merge(o *ulps) {
	u.max = max(u.max, o.max)
	u.zeros += o.zeros
	for i, n := range o.count {
		u.count[i] += n
	}
}

// result gives the figures over all finite pairs.
func (u *ulps) result(m *meter) *ULP {
	if !u.known || m.n == 0 {
		return nil
	}
	out := &ULP{Max: u.max, Histogram: []int{m.equal}}
	seen := m.equal
	total := m.n - m.nonFinite
	for i, n := range u.count {
		if i == 0 {
			n -= u.zeros
		}
		if n == 0 {
			continue
		}
		k := max(0, i>>stepBits) // [2^(k-1), 2^k)
		for len(out.Histogram) <= k {
			out.Histogram = append(out.Histogram, 0)
		}
		out.Histogram[k] += n
		if 100*seen < 99*total && 100*(seen+n) >= 99*total {
			out.P99 = edge(i)
		}
		seen += n
	}
	return out
}

// edge is the lower end of a bucket, 0 of the first.
func edge(i int) float64 {
	if i == 0 {
		return 0
	}
	return math.Float64frombits(uint64(i+kernel.PairFirstBucket) << (52 - stepBits))
}
