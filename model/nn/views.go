package nn

import "github.com/ilref/ilref/tensor"

// Split views the columns of x (T, sum of widths) as one matrix for each width.
func Split(x *tensor.Tensor, widths ...int) []*tensor.Tensor {
	out := make([]*tensor.Tensor, len(widths))
	at := 0
	for i, w := range widths {
		out[i] = x.Narrow(1, at, at+w)
		at += w
	}
	return out
}

// ByHead views (T, n*D) as (T, n, D).
func ByHead(x *tensor.Tensor, headDim int) *tensor.Tensor {
	v := *x
	v.Shape = []int{x.Shape[0], x.Shape[1] / headDim, headDim}
	v.Stride = []int{x.Stride[0], headDim, 1}
	return &v
}

// Flatten views a contiguous (T, n, D) as (T, n*D).
func Flatten(x *tensor.Tensor) *tensor.Tensor {
	v := *x
	v.Shape = []int{x.Shape[0], x.Shape[1] * x.Shape[2]}
	v.Stride = tensor.ContiguousStride(v.Shape)
	return &v
}

// CopyRows copies x into dst of the same shape.
func CopyRows(dst, x *tensor.Tensor) {
	to, from := rowsOf(dst), rowsOf(x)
	for i := range to.n {
		copy(to.bytes(i), from.bytes(i))
	}
}
