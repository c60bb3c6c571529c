package tensor

import (
	"bytes"
	"slices"
)

// SameBits reports whether two tensors are equal in type, shape and the bits of
// their elements. A tensor on device meta has none, and equals no other.
func SameBits(x, y *Tensor) bool {
	if x.DType != y.DType || !slices.Equal(x.Shape, y.Shape) || x.Meta || y.Meta {
		return false
	}
	const block = 1 << 13
	es, n := x.DType.Size(), x.Numel()
	a, b := make([]byte, min(block, n)*es), make([]byte, min(block, n)*es)
	for at := 0; at < n; at += block {
		k := min(block, n-at) * es
		x.Gather(a[:k], at)
		y.Gather(b[:k], at)
		if !bytes.Equal(a[:k], b[:k]) {
			return false
		}
	}
	return true
}
