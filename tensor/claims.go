package tensor

import (
	"fmt"
	"slices"
)

const (
	// smallClaim is what any tensor may claim, in bytes: reading it takes no time.
	smallClaim = 64 << 20
	// maxOverlap is how many times the storage strides that overlap may claim,
	// and maxCopies how many copies strides of 0 may: a mask that is expanded over
	// heads and requests has as many.
	maxOverlap = 16
	maxCopies  = 1024
)

// CheckClaim refuses a tensor that claims far more than its storage holds, by
// strides of 0 or strides that overlap, or on device meta: a file of a few bytes
// can claim 2^60 elements, and whoever reads or copies them would never end.
func (t *Tensor) CheckClaim() error {
	n := t.NumBytes()
	if n <= smallClaim {
		return nil
	}
	distinct := t.DType.Size()
	for d, s := range t.Shape {
		switch {
		case t.Stride[d] == 0:
		case distinct > n/s: // n is at most MaxInt, and so not exact
			distinct = n
		default:
			distinct *= s
		}
	}
	if stored := len(t.Data); distinct/maxOverlap <= stored && n/maxCopies <= stored {
		return nil
	}
	if t.Meta {
		return fmt.Errorf("is %s on device meta, which has no values", t)
	}
	return fmt.Errorf("is %s by strides %s over a storage of %d bytes, so nearly all of it is repeated: save a contiguous copy of it", t, ShapeString(t.Stride), len(t.Data))
}

// errMeta is of tensors that have a shape and a type, and nothing else.
func (t *Tensor) errMeta() error { return fmt.Errorf("%s is on device meta, which has no values", t) }

// empty reports whether there is no element, wherever the offset points.
func (t *Tensor) empty() bool { return slices.Contains(t.Shape, 0) }
