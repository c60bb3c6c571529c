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
	// heads and requests has as many. What is claimed beyond largeClaim is stored,
	// but for maxOverlap: whoever reads a tensor reads each of its copies.
	maxOverlap = 16
	maxCopies  = 1024
	largeClaim = 1 << 30
	// maxCopied is what a copy may take beyond what is stored, in bytes.
	maxCopied = 256 << 20
	// maxInts bounds the values that Ints gives.
	maxInts = 1 << 24
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
	stored := len(t.Data)
	if distinct/maxOverlap <= stored && n/maxCopies <= stored && (n <= largeClaim || n/maxOverlap <= stored) {
		return nil
	}
	if t.Meta {
		return fmt.Errorf("is %s on device meta, which has no values", t)
	}
	return fmt.Errorf("is %s by strides %s over a storage of %d bytes, so nearly all of it is repeated: save a contiguous copy of it", t, ShapeString(t.Stride), len(t.Data))
}

// CheckCopy refuses a tensor of which a copy would take far more memory than its
// storage does, or that has nothing to copy. It is asked before Clone of a tensor
// that the program has not made itself.
func (t *Tensor) CheckCopy() error {
	switch n := t.NumBytes(); {
	case t.Meta:
		return t.errMeta()
	case n > max(len(t.Data), maxCopied):
		return fmt.Errorf("%s would take %d bytes, but %d are stored", t, n, len(t.Data))
	}
	return nil
}

// errMeta is of tensors that have a shape and a type, and nothing else.
func (t *Tensor) errMeta() error { return fmt.Errorf("%s is on device meta, which has no values", t) }

// empty reports whether there is no element, wherever the offset points.
func (t *Tensor) empty() bool { return slices.Contains(t.Shape, 0) }
