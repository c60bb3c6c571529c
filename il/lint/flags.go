package lint

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math"

	"github.com/ilref/ilref/tensor"
)

// seed of the hashes of one process. 64 bits: two of 100,000 tensors meet by
// chance once in four billion sessions.
var seed = maphash.MakeSeed()

// flags is what the values of a tensor are like.
type flags struct {
	hash     uint64 // of the element type and the logical bytes, not of the shape
	constant bool   // all elements have the same bits, or are zeros of either sign
	zero     bool   // all are zero
	first    float64

	nan, posInf, negInf int
	badFirst, badLast   int // the first and the last value that is not finite, counted in C order
}

func (f *flags) bad() bool { return f.nan+f.posInf+f.negInf > 0 }

// scan reads a tensor once, block by block.
func scan(t *tensor.Tensor, alive func() error) (flags, error) {
	f := flags{constant: true, zero: true, badFirst: -1}
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteByte(byte(t.DType))
	es, per, at := t.DType.Size(), t.DType.ValuesPerElement(), 0
	var first []byte
	err := t.Chunks(64<<10, func(b []byte) error {
		if err := alive(); err != nil {
			return err
		}
		h.Write(b)
		if first == nil {
			first = bytes.Clone(b[:es])
		}
		f.constant = f.constant && bytes.Equal(b[:es], first) && bytes.Equal(b[es:], b[:len(b)-es])
		if f.zero || nonFinite(t.DType, b) {
			f.values(t.DType, b, at)
		}
		at += len(b) / es * per
		return nil
	})
	if err != nil {
		return f, err
	}
	f.hash = h.Sum64()
	if first == nil { // no elements
		f.constant, f.zero = false, false
	}
	f.constant = f.constant || f.zero
	if first != nil && per > 0 {
		v := make([]float64, per)
		tensor.LoadFloat64(v, t.DType, first)
		f.first = v[0]
	}
	return f, nil
}

// values looks at every value of a block; at is the number of values before it.
func (f *flags) values(d tensor.DType, b []byte, at int) {
	per := d.ValuesPerElement()
	if per == 0 {
		f.zero = false
		return
	}
	const block = 1024
	var buf [block]float64
	es := d.Size()
	for len(b) > 0 {
		n := min(len(b)/es, block/per)
		v := buf[:n*per]
		tensor.LoadFloat64(v, d, b[:n*es])
		for i, x := range v {
			f.zero = f.zero && x == 0
			switch {
			case x-x == 0: // finite
				continue
			case math.IsNaN(x):
				f.nan++
			case x > 0:
				f.posInf++
			default:
				f.negInf++
			}
			if f.badFirst < 0 {
				f.badFirst = at + i
			}
			f.badLast = at + i
		}
		b, at = b[n*es:], at+len(v)
	}
}

// nonFinite reports whether a block may hold NaN or an infinity: exactly for
// the usual types, always for the rare ones.
func nonFinite(d tensor.DType, b []byte) bool {
	le := binary.LittleEndian
	switch d {
	case tensor.BFloat16, tensor.Float16:
		mask := uint16(0x7f80)
		if d == tensor.Float16 {
			mask = 0x7c00
		}
		for ; len(b) >= 2; b = b[2:] {
			if le.Uint16(b)&mask == mask {
				return true
			}
		}
		return false
	case tensor.Float32:
		for ; len(b) >= 4; b = b[4:] {
			if le.Uint32(b)&0x7f800000 == 0x7f800000 {
				return true
			}
		}
		return false
	case tensor.Float64:
		for ; len(b) >= 8; b = b[8:] {
			if le.Uint64(b)&(0x7ff<<52) == 0x7ff<<52 {
				return true
			}
		}
		return false
	}
	return !d.IsInt()
}
