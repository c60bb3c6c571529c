package tensor

import "fmt"

// Int64s decodes logical elements start, start+1, … of an integer or bool
// tensor into dst, exactly; a uint64 is given as its two's complement.
func (t *Tensor) Int64s(dst []int64, start int) error {
	if !t.DType.IsInt() {
		return fmt.Errorf("%s is not an integer type", t.DType)
	}
	if t.Meta {
		return t.errMeta()
	}
	const block = 4096
	var buf [block * 8]byte
	es := t.DType.Size()
	for n := 0; n < len(dst); n += block {
		m := min(len(dst)-n, block)
		raw := buf[:m*es]
		t.Gather(raw, start+n)
		for i := range m {
			dst[n+i] = getInt(raw[i*es:], t.DType)
		}
	}
	return nil
}
