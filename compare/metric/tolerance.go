package metric

import "github.com/ilref/ilref/tensor"

// Tolerance is that of torch.testing.assert_close: values match when
// abs(target-reference) <= ATol + RTol*abs(reference).
type Tolerance struct {
	RTol, ATol float64
}

// DefaultTolerance returns assert_close's own choice for tensors of the two
// types: the larger of each type's (torch/testing/_comparison.py,
// default_tolerances). Types that it does not list must be equal.
func DefaultTolerance(a, b tensor.DType) Tolerance {
	x, y := precision(a), precision(b)
	return Tolerance{RTol: max(x.RTol, y.RTol), ATol: max(x.ATol, y.ATol)}
}

func precision(d tensor.DType) Tolerance {
	switch d {
	case tensor.Float64, tensor.Complex128:
		return Tolerance{1e-7, 1e-7}
	case tensor.Float32, tensor.Complex64, tensor.QInt8, tensor.QUInt8, tensor.QInt32:
		return Tolerance{1.3e-6, 1e-5}
	case tensor.Float16, tensor.Complex32:
		return Tolerance{1e-3, 1e-5}
	case tensor.BFloat16, tensor.BComplex32:
		return Tolerance{1.6e-2, 1e-5}
	}
	return Tolerance{}
}
