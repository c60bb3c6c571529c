package baseline

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"

	"github.com/ilref/ilref/tensor"
)

// Projections is how many random projections a fingerprint holds. A gap is
// estimated from them with a standard error of 1/√(2·Projections), an eighth.
const Projections = 32

// Fingerprint stands for a tensor. The statistics are of its finite values.
type Fingerprint struct {
	DType  string  `json:"dtype"`
	Shape  []int   `json:"shape"`
	Numel  int     `json:"numel"`
	SHA256 string  `json:"sha256"` // of the logical bytes, C order, little-endian
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Mean   float64 `json:"mean"`
	RMS    float64 `json:"rms"`
	NaN    int     `json:"nan"`
	Inf    int     `json:"inf"`
	// Projected is Projections float64, little-endian: Σ s(i,j)·v(i) over the
	// finite values v(i) in C order, with the signs s(i,j) of signs(i). Then
	// Σ (p(j)-q(j))² / Projections is an estimate of |v-w|², without bias
	// (D. Achlioptas, Database-friendly random projections, 2003).
	Projected []byte `json:"projected"`
	// NonFinite is a hash of which values are NaN and which infinities, and of
	// the signs of these; "" where all are finite.
	NonFinite string `json:"non_finite,omitempty"`
	// ByRows is Projected of rows that are divided by their root mean square each,
	// so that a few huge ones, as the first token's, do not hide the others; empty
	// below fewestRows rows, and in baselines of ildiff before it had them.
	ByRows []byte `json:"by_rows,omitempty"`
}

// fewestRows is how many rows have a typical one.
const fewestRows = 4

// signs gives the signs of value i in all projections, a bit each: SplitMix64
// (Steele, Lea and Flood, 2014) with the seed 0, of which it is output i.
func signs(i uint64) uint64 {
	z := (i + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// fingerprint reads a tensor once for its hash, once for its values and once for
// those of its rows.
func fingerprint(t *tensor.Tensor) (*Fingerprint, error) {
	if err := t.CheckClaim(); err != nil {
		return nil, err
	}
	if t.Meta {
		return nil, fmt.Errorf("%s is on device meta, which has no values", t)
	}
	f := &Fingerprint{DType: t.DType.String(), Shape: append([]int{}, t.Shape...), Numel: t.Numel()}
	h := sha256.New()
	if err := t.Chunks(0, func(b []byte) error { h.Write(b); return nil }); err != nil {
		return nil, err
	}
	f.SHA256 = hex.EncodeToString(h.Sum(nil))
	if err := f.values(t); err != nil {
		return nil, err
	}
	return f, f.rows(t)
}

func (f *Fingerprint) values(t *tensor.Tensor) error {
	var buf [2048]float64
	var p [Projections]float64
	var sum, squares float64
	odd := sha256.New()
	notFinite := func(at int, what byte) { odd.Write(append(binary.LittleEndian.AppendUint64(nil, uint64(at)), what)) }
	f.Min, f.Max = math.Inf(1), math.Inf(-1)
	n, finite := t.Numel()*t.DType.ValuesPerElement(), 0
	for at := 0; at < n; at += len(buf) {
		b := buf[:min(len(buf), n-at)]
		if err := t.Float64s(b, at); err != nil {
			return err
		}
		for i, v := range b {
			switch {
			case math.IsNaN(v):
				f.NaN++
				notFinite(at+i, 'n')
				continue
			case math.IsInf(v, 0):
				f.Inf++
				notFinite(at+i, map[bool]byte{true: '+', false: '-'}[v > 0])
				continue
			}
			finite++
			f.Min, f.Max = min(f.Min, v), max(f.Max, v)
			sum += v
			squares += float64(v * v) // no fused multiply-add: equal bits on every platform
			project(&p, at+i, v)
		}
	}
	if f.NaN+f.Inf > 0 {
		f.NonFinite = hex.EncodeToString(odd.Sum(nil))
	}
	if finite == 0 {
		f.Min, f.Max = 0, 0
	} else {
		f.Mean, f.RMS = clamp(sum/float64(finite)), clamp(math.Sqrt(squares/float64(finite)))
	}
	f.Projected = encode(&p)
	return nil
}

// project adds value i to the projections.
func project(p *[Projections]float64, i int, v float64) {
	s, bits := signs(uint64(i)), math.Float64bits(v)
	for j := range p {
		p[j] += math.Float64frombits(bits ^ s>>j<<63)
	}
}

func encode(p *[Projections]float64) (out []byte) {
	for _, x := range p {
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(x))
	}
	return out
}

// rows projects the rows, all dimensions but the last, at one size.
func (f *Fingerprint) rows(t *tensor.Tensor) error {
	d := len(t.Shape)
	if d < 2 || t.DType.IsInt() || t.DType.ValuesPerElement() == 0 || t.Numel() == 0 {
		return nil
	}
	width := t.Shape[d-1] * t.DType.ValuesPerElement()
	n := t.Numel() / t.Shape[d-1]
	if n < fewestRows {
		return nil
	}
	var p [Projections]float64
	for row := range n {
		squares := 0.0
		if err := eachFinite(t, row*width, width, func(_ int, v float64) { squares += float64(v * v) }); err != nil {
			return err
		}
		size := math.Sqrt(squares / float64(width))
		if size == 0 || math.IsInf(size, 0) {
			continue // a row of zeros is as far from another as it can be all the same
		}
		if err := eachFinite(t, row*width, width, func(i int, v float64) { project(&p, i, v/size) }); err != nil {
			return err
		}
	}
	f.ByRows = encode(&p)
	return nil
}

// eachFinite calls do with n values from index at on, by their indices.
func eachFinite(t *tensor.Tensor, at, n int, do func(i int, v float64)) error {
	var buf [2048]float64
	for end := at + n; at < end; at += len(buf) {
		b := buf[:min(len(buf), end-at)]
		if err := t.Float64s(b, at); err != nil {
			return err
		}
		for i, v := range b {
			if v-v == 0 {
				do(at+i, v)
			}
		}
	}
	return nil
}

// clamp keeps a sum that has overflowed a number that JSON has.
func clamp(v float64) float64 { return max(-math.MaxFloat64, min(math.MaxFloat64, v)) }

func decode(b []byte) (p [Projections]float64) {
	for j := range p {
		p[j] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*j:]))
	}
	return p
}

// distance is the estimate of |v-w| by the projections of v and of w.
func distance(v, w []byte) float64 {
	p, q, sum := decode(v), decode(w), 0.0
	for j := range p {
		d := p[j] - q[j]
		sum += float64(d * d)
	}
	return math.Sqrt(sum / Projections)
}

// norm is the exact norm of the finite values.
func (f *Fingerprint) norm() float64 {
	values := f.Numel * f.dtype().ValuesPerElement()
	return f.RMS * math.Sqrt(float64(values-f.NaN-f.Inf))
}

// gap estimates rel_l2 of other against f: infinity where integers, types
// without numbers, or which values are NaN and infinite, differ.
func (f *Fingerprint) gap(other *Fingerprint) float64 {
	a, b := f.dtype(), other.dtype()
	switch {
	case f.SHA256 == other.SHA256 && f.DType == other.DType:
		return 0
	case f.NaN != other.NaN || f.Inf != other.Inf:
		return math.Inf(1)
	case f.NonFinite != other.NonFinite && f.NonFinite != "" && other.NonFinite != "": // an older baseline has none
		return math.Inf(1)
	case a == b && (a.IsInt() || a.ValuesPerElement() == 0): // other bits are other values
		return math.Inf(1)
	}
	d := distance(f.Projected, other.Projected)
	switch {
	case math.IsNaN(d):
		return math.Inf(1)
	case d == 0:
		return 0
	case a.IsInt() && b.IsInt():
		return math.Inf(1)
	}
	return d / f.norm()
}

// rowGap estimates the typical rel_l2 of the rows of other against f; 0 where
// either does not tell.
func (f *Fingerprint) rowGap(other *Fingerprint) float64 {
	if len(f.ByRows) == 0 || len(other.ByRows) == 0 || f.SHA256 == other.SHA256 {
		return 0
	}
	return distance(f.ByRows, other.ByRows) / math.Sqrt(float64(f.Numel*f.dtype().ValuesPerElement()))
}

// check refuses what a damaged file may hold.
func (f *Fingerprint) check() error {
	d, ok := tensor.ParseDType(f.DType)
	hash, err := hex.DecodeString(f.SHA256)
	n := 1
	for _, x := range f.Shape {
		if x < 0 || x > 0 && n > math.MaxInt/x {
			return fmt.Errorf("shape %v", f.Shape)
		}
		n *= x
	}
	switch {
	case !ok:
		return fmt.Errorf("dtype %q", f.DType)
	case err != nil || len(hash) != sha256.Size:
		return fmt.Errorf("sha256 %q", f.SHA256)
	case n != f.Numel:
		return fmt.Errorf("numel %d of shape %v", f.Numel, f.Shape)
	case len(f.ByRows) != 0 && len(f.ByRows) != 8*Projections:
		return fmt.Errorf("%d bytes of projections by rows, want %d", len(f.ByRows), 8*Projections)
	case len(f.Projected) != 8*Projections:
		return fmt.Errorf("%d bytes of projections, want %d", len(f.Projected), 8*Projections)
	case f.NaN < 0 || f.Inf < 0 || f.NaN > n*d.ValuesPerElement()-f.Inf:
		return fmt.Errorf("%d NaN and %d infinities of %d values", f.NaN, f.Inf, n*d.ValuesPerElement())
	}
	return nil
}
