package tensor

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Bytes returns the logical tensor as contiguous, C-order, little-endian
// bytes. It is a view of the storage where the tensor is contiguous and
// neither conj nor neg, and a copy otherwise: check NumBytes first.
func (t *Tensor) Bytes() []byte {
	if t.Meta {
		return nil
	}
	if t.IsContiguous() && !t.Conj && !t.Neg {
		n, lo := t.NumBytes(), t.Offset*t.DType.Size()
		if n == 0 {
			return nil
		}
		return t.Data[lo : lo+n : lo+n]
	}
	b := make([]byte, t.NumBytes())
	t.Gather(b, 0)
	return b
}

// Chunks calls f with the logical bytes in order, in pieces of at most size
// bytes (whole elements; 1 MiB when size is 0). It copies at most one piece.
func (t *Tensor) Chunks(size int, f func([]byte) error) error {
	if size <= 0 {
		size = 1 << 20
	}
	es := max(t.DType.Size(), 1)
	per := max(size/es, 1)
	n := t.Numel()
	direct := t.IsContiguous() && !t.Conj && !t.Neg
	var buf []byte
	for i := 0; i < n; i += per {
		m := min(per, n-i)
		var piece []byte
		if direct {
			lo := (t.Offset + i) * es
			piece = t.Data[lo : lo+m*es]
		} else {
			if buf == nil {
				buf = make([]byte, per*es)
			}
			piece = buf[:m*es]
			t.Gather(piece, i)
		}
		if err := f(piece); err != nil {
			return err
		}
	}
	return nil
}

// Gather copies logical elements start, start+1, … in C order into dst until
// it is full, with conj and neg applied. len(dst) is a multiple of the element
// size.
func (t *Tensor) Gather(dst []byte, start int) {
	es := t.DType.Size()
	n := len(dst) / es
	if n == 0 {
		return
	}
	if t.Meta {
		clear(dst)
		return
	}
	if t.IsContiguous() {
		lo := (t.Offset + start) * es
		copy(dst, t.Data[lo:lo+n*es])
	} else {
		t.gatherStrided(dst, start, n, es)
	}
	if t.Conj || t.Neg {
		applyBits(dst, t.DType, t.Conj, t.Neg)
	}
}

func (t *Tensor) gatherStrided(dst []byte, start, n, es int) {
	last := len(t.Shape) - 1
	idx := make([]int, len(t.Shape))
	pos := t.Offset
	for d, r := last, start; d >= 0; d-- {
		idx[d] = r % t.Shape[d]
		r /= t.Shape[d]
		pos += idx[d] * t.Stride[d]
	}
	for n > 0 {
		m := min(n, t.Shape[last]-idx[last]) // a run along the last dimension
		st := t.Stride[last]
		if st == 1 {
			copy(dst[:m*es], t.Data[pos*es:(pos+m)*es])
		} else {
			for i := range m {
				p := (pos + i*st) * es
				copy(dst[i*es:(i+1)*es], t.Data[p:p+es])
			}
		}
		dst, n = dst[m*es:], n-m
		idx[last] += m
		pos += m * st
		for d := last; d > 0 && idx[d] == t.Shape[d]; d-- { // carry
			pos += t.Stride[d-1] - idx[d]*t.Stride[d]
			idx[d] = 0
			idx[d-1]++
		}
	}
}

// applyBits negates (neg) every component and (conj) every imaginary part, on
// the bytes: a sign flip for floats, two's complement for integers.
func applyBits(b []byte, d DType, conj, neg bool) {
	cs := d.ComponentSize()
	cplx := d.Kind() == KindComplex
	for i := 0; i < len(b)/cs; i++ {
		flip := neg
		if cplx && conj && i%2 == 1 {
			flip = !flip
		}
		if !flip {
			continue
		}
		c := b[i*cs : (i+1)*cs]
		if cplx || d.IsFloat() {
			c[cs-1] ^= 0x80
		} else {
			putInt(c, d, -getInt(c, d))
		}
	}
}

// Float64s decodes logical elements start, start+1, … into dst. Packed and
// complex types have two values an element (low nibble or real part first) and
// start counts values; quantised types are dequantised. Bool and integers are
// converted. It returns an error for types without numeric values.
func (t *Tensor) Float64s(dst []float64, start int) error {
	d := t.DType
	per := d.ValuesPerElement()
	if per == 0 {
		return fmt.Errorf("%s has no numeric values", d)
	}
	if start%per != 0 || len(dst)%per != 0 {
		return fmt.Errorf("%s is read in whole elements of %d values", d, per)
	}
	if t.Meta {
		return t.errMeta()
	}
	if len(dst) == 0 { // nothing to slice, wherever the offset points
		return nil
	}
	if es := d.Size(); t.IsContiguous() && !t.Conj && !t.Neg && t.Quant == nil {
		lo := (t.Offset + start/per) * es
		LoadFloat64(dst, d, t.Data[lo:lo+len(dst)/per*es])
		return nil
	}
	t.gatherFloat64s(dst, start)
	return nil
}

// gatherFloat64s is Float64s for any layout, by way of a buffer.
func (t *Tensor) gatherFloat64s(dst []float64, start int) {
	const block = 4096
	var buf [block * 8]byte
	d := t.DType
	per, es := d.ValuesPerElement(), d.Size()
	for n := 0; n < len(dst); {
		m := min(len(dst)-n, block)
		raw := buf[:m/per*es]
		if es > 8 {
			m = min(m, block*8/es*per)
			raw = buf[:m/per*es]
		}
		t.Gather(raw, (start+n)/per)
		LoadFloat64(dst[n:n+m], d, raw)
		if t.Quant != nil {
			t.dequantize(dst[n:n+m], start+n)
		}
		n += m
	}
}

func (t *Tensor) dequantize(v []float64, start int) {
	q := t.Quant
	inner := 1
	if q.Axis >= 0 {
		inner = count(t.Shape[q.Axis+1:])
	}
	for i := range v {
		c := 0
		if q.Axis >= 0 {
			c = (start + i) / inner % t.Shape[q.Axis]
		}
		v[i] = (v[i] - q.ZeroPoints[c]) * q.Scales[c]
	}
}

// ValuesPerElement returns how many real numbers one element holds: 1, 2 for
// complex and float4 pairs, 0 for types without numeric values.
func (d DType) ValuesPerElement() int {
	switch d {
	case QUInt4x2, QUInt2x4:
		return 0 // sub-byte quantised types are kept as bytes
	}
	switch d.Kind() {
	case KindOpaque:
		return 0
	case KindComplex, KindPacked:
		return 2
	}
	return 1
}

// LoadFloat64 decodes little-endian elements of type d: len(dst) values.
// Integers beyond 2^53 are rounded.
func LoadFloat64(dst []float64, d DType, src []byte) {
	le := binary.LittleEndian
	switch d {
	case Float64, Complex128:
		for i := range dst {
			dst[i] = math.Float64frombits(le.Uint64(src[8*i:]))
		}
	case Float32, Complex64:
		for i := range dst {
			dst[i] = float64(math.Float32frombits(le.Uint32(src[4*i:])))
		}
	case BFloat16, BComplex32:
		n := len(dst) &^ 3
		for i := 0; i < n; i += 4 { // four at a time: the loads would take longer than the conversion
			q, x := le.Uint64(src[2*i:]), dst[i:i+4:i+4]
			x[0] = float64(math.Float32frombits(uint32(q) << 16))
			x[1] = float64(math.Float32frombits(uint32(q) &^ 0xffff))
			x[2] = float64(math.Float32frombits(uint32(q>>32) << 16))
			x[3] = float64(math.Float32frombits(uint32(q>>32) &^ 0xffff))
		}
		for i := n; i < len(dst); i++ {
			dst[i] = float64(BF16ToF32(le.Uint16(src[2*i:])))
		}
	case Float16, Complex32:
		for i := range dst {
			dst[i] = float64(F16ToF32(le.Uint16(src[2*i:])))
		}
	case Float4E2M1FNx2:
		for i := range dst {
			dst[i] = float64(f4e2m1[src[i/2]>>(4*(i%2))&15])
		}
	default:
		if tab := byteTable(d); tab != nil {
			for i := range dst {
				dst[i] = float64(tab[src[i]])
			}
			return
		}
		es := d.Size()
		for i := range dst {
			v := getInt(src[i*es:], d)
			if d == Uint64 {
				dst[i] = float64(uint64(v))
			} else {
				dst[i] = float64(v)
			}
		}
	}
}

// LoadFloat32 decodes little-endian elements of a real floating-point type.
// float64 is rounded.
func LoadFloat32(dst []float32, d DType, src []byte) {
	le := binary.LittleEndian
	switch d {
	case Float64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i:])))
		}
	case Float32:
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
		}
	case BFloat16:
		for i := range dst {
			dst[i] = BF16ToF32(le.Uint16(src[2*i:]))
		}
	case Float16:
		for i := range dst {
			dst[i] = F16ToF32(le.Uint16(src[2*i:]))
		}
	default:
		tab := byteTable(d)
		if tab == nil {
			panic("tensor: LoadFloat32 of " + d.String())
		}
		for i := range dst {
			dst[i] = tab[src[i]]
		}
	}
}

func byteTable(d DType) *[256]float32 {
	switch d {
	case Float8E4M3FN:
		return f8e4m3fn
	case Float8E5M2:
		return f8e5m2
	case Float8E4M3FNUZ:
		return f8e4m3fnuz
	case Float8E5M2FNUZ:
		return f8e5m2fnuz
	case Float8E8M0FNU:
		return f8e8m0fnu
	}
	return nil
}

// StoreFloat32 encodes values as little-endian elements of float64, float32,
// float16 or bfloat16, rounding to nearest even.
func StoreFloat32(dst []byte, d DType, v []float32) {
	le := binary.LittleEndian
	switch d {
	case Float64:
		for i, x := range v {
			le.PutUint64(dst[8*i:], math.Float64bits(float64(x)))
		}
	case Float32:
		for i, x := range v {
			le.PutUint32(dst[4*i:], math.Float32bits(x))
		}
	case BFloat16:
		for i, x := range v {
			le.PutUint16(dst[2*i:], F32ToBF16(x))
		}
	case Float16:
		for i, x := range v {
			le.PutUint16(dst[2*i:], F32ToF16(x))
		}
	default:
		panic("tensor: StoreFloat32 to " + d.String())
	}
}

// StoreFloat64 is StoreFloat32 for float64 values. As in PyTorch a half type
// is reached through float32.
func StoreFloat64(dst []byte, d DType, v []float64) {
	if d != Float64 {
		es := d.Size()
		for i, x := range v {
			StoreFloat32(dst[i*es:], d, []float32{float32(x)})
		}
		return
	}
	for i, x := range v {
		binary.LittleEndian.PutUint64(dst[8*i:], math.Float64bits(x))
	}
}

// Ints decodes all logical elements of an integer or bool tensor.
func (t *Tensor) Ints() ([]int, error) {
	if !t.DType.IsInt() {
		return nil, fmt.Errorf("%s is not an integer type", t.DType)
	}
	es := t.DType.Size()
	switch {
	case t.Meta:
		return nil, t.errMeta()
	case t.Numel() > maxInts:
		return nil, fmt.Errorf("%s has more integers than the %d of a list", t, maxInts)
	}
	b := t.Bytes()
	v := make([]int, t.Numel())
	for i := range v {
		v[i] = int(getInt(b[i*es:], t.DType))
	}
	return v, nil
}

func getInt(b []byte, d DType) int64 {
	le := binary.LittleEndian
	switch d {
	case Int64, Uint64:
		return int64(le.Uint64(b))
	case Int32, QInt32:
		return int64(int32(le.Uint32(b)))
	case Uint32:
		return int64(le.Uint32(b))
	case Int16:
		return int64(int16(le.Uint16(b)))
	case Uint16:
		return int64(le.Uint16(b))
	case Int8, QInt8:
		return int64(int8(b[0]))
	case Bool:
		if b[0] != 0 {
			return 1
		}
		return 0
	}
	return int64(b[0])
}

func putInt(b []byte, d DType, v int64) {
	le := binary.LittleEndian
	switch d.Size() {
	case 8:
		le.PutUint64(b, uint64(v))
	case 4:
		le.PutUint32(b, uint32(v))
	case 2:
		le.PutUint16(b, uint16(v))
	default:
		b[0] = byte(v)
	}
}
