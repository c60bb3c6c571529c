package inspect

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/ilref/ilref/tensor"
)

const shown = 6 // values in the text

// firstValues renders the first elements, integers exactly.
func firstValues(x *tensor.Tensor) []string {
	size := x.DType.Size()
	n := min(x.Numel(), shown)
	raw := make([]byte, n*size)
	x.Gather(raw, 0)
	per := x.DType.ValuesPerElement()
	v := make([]float64, n*per)
	if per > 0 && x.Float64s(v, 0) != nil {
		return nil
	}
	out := make([]string, n)
	for i := range out {
		out[i] = value(x.DType, raw[i*size:(i+1)*size], v[i*per:(i+1)*per])
	}
	return out
}

// value renders one element, given as its bytes and as its numbers.
func value(d tensor.DType, b []byte, v []float64) string {
	switch d.Kind() {
	case tensor.KindInt:
		return integer(d, b)
	case tensor.KindFloat, tensor.KindQuantized:
		if len(v) == 1 {
			return number(v[0])
		}
	case tensor.KindComplex:
		im := number(v[1])
		if im[0] != '-' {
			im = "+" + im
		}
		return number(v[0]) + im + "j"
	case tensor.KindPacked:
		return number(v[0]) + "|" + number(v[1])
	}
	return fmt.Sprintf("0x%x", b)
}

// number renders whole numbers in full and others with six digits.
func number(x float64) string {
	if x == math.Trunc(x) && math.Abs(x) < 1e15 {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return strconv.FormatFloat(x, 'g', 6, 64)
}

func integer(d tensor.DType, b []byte) string {
	var word [8]byte
	copy(word[:], b)
	u := binary.LittleEndian.Uint64(word[:])
	switch d {
	case tensor.Bool:
		return strconv.FormatBool(u != 0)
	case tensor.Uint64, tensor.Uint32, tensor.Uint16, tensor.Uint8:
		return strconv.FormatUint(u, 10)
	}
	shift := 64 - 8*len(b)
	return strconv.FormatInt(int64(u<<shift)>>shift, 10)
}
