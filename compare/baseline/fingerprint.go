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
}

// signs gives the signs of value i in all projections, a bit each: SplitMix64
// (Steele, Lea and Flood, 2014) with the seed 0, of which it is output i.
func signs(i uint64) uint64 {
	z := (i + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// fingerprint reads a tensor once for its hash and once for its values.
func fingerprint(t *tensor.Tensor) (*Fingerprint, error) {
	if t.Meta {
		return nil, fmt.Errorf("is %s on device meta, which has no values", t)
	}
	if err := t.CheckClaim(); err != nil {
		return nil, err
	}
	f := &Fingerprint{DType: t.DType.String(), Shape: append([]int{}, t.Shape...), Numel: t.Numel()}
	h := sha256.New()
	if err := t.Chunks(0, func(b []byte) error { h.Write(b); return nil }); err != nil {
		return nil, err
	}
	f.SHA256 = hex.EncodeToString(h.Sum(nil))
	return f, f.values(t)
}

func (f *Fingerprint) values(t *tensor.Tensor) error {
	var buf [2048]float64
	var p [Projections]float64
	var sum, squares float64
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
				continue
			case math.IsInf(v, 0):
				f.Inf++
				continue
			}
			finite++
			f.Min, f.Max = min(f.Min, v), max(f.Max, v)
			sum += v
			squares += float64(v * v) // no fused multiply-add: equal bits on every platform
			s, bits := signs(uint64(at+i)), math.Float64bits(v)
			for j := range p {
				p[j] += math.Float64frombits(bits ^ s>>j<<63)
			}
		}
	}
	if finite == 0 {
		f.Min, f.Max = 0, 0
	} else {
		f.Mean, f.RMS = clamp(sum/float64(finite)), clamp(math.Sqrt(squares/float64(finite)))
	}
	for _, x := range p {
		f.Projected = binary.LittleEndian.AppendUint64(f.Projected, math.Float64bits(x))
	}
	return nil
}

// clamp keeps a sum that has overflowed a number that JSON has.
func clamp(v float64) float64 { return max(-math.MaxFloat64, min(math.MaxFloat64, v)) }

func (f *Fingerprint) projections() (p [Projections]float64) {
	for j := range p {
		p[j] = math.Float64frombits(binary.LittleEndian.Uint64(f.Projected[8*j:]))
	}
	return p
}

// norm is the exact norm of the finite values.
func (f *Fingerprint) norm() float64 {
	values := f.Numel * f.dtype().ValuesPerElement()
	return f.RMS * math.Sqrt(float64(values-f.NaN-f.Inf))
}

// gap estimates rel_l2 of other against f: infinity where integers, or the
// counts of NaN and infinities, differ.
func (f *Fingerprint) gap(other *Fingerprint) float64 {
	if f.SHA256 == other.SHA256 && f.DType == other.DType {
		return 0
	}
	if f.NaN != other.NaN || f.Inf != other.Inf {
		return math.Inf(1)
	}
	p, q, sum := f.projections(), other.projections(), 0.0
	for j := range p {
		d := p[j] - q[j]
		sum += float64(d * d)
	}
	d := math.Sqrt(sum / Projections)
	switch {
	case math.IsNaN(d):
		return math.Inf(1)
	case d == 0:
		return 0
	case f.dtype().IsInt() && other.dtype().IsInt():
		return math.Inf(1)
	}
	return d / f.norm()
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
	case len(f.Projected) != 8*Projections:
		return fmt.Errorf("%d bytes of projections, want %d", len(f.Projected), 8*Projections)
	case f.NaN < 0 || f.Inf < 0 || f.NaN > n*d.ValuesPerElement()-f.Inf:
		return fmt.Errorf("%d NaN and %d infinities of %d values", f.NaN, f.Inf, n*d.ValuesPerElement())
	}
	return nil
}
