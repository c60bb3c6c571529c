package nn

import "github.com/ilref/ilref/tensor"

// Split views the columns of x (…, sum of widths) as one matrix for each width.
func Split(x *tensor.Tensor, widths ...int) []*tensor.Tensor {
	out := make([]*tensor.Tensor, len(widths))
	at := 0
	for i, w := range widths {
		out[i] = x.Narrow(len(x.Shape)-1, at, at+w)
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

// Batched views a contiguous (T, …) as (1, T, …).
func Batched(x *tensor.Tensor) *tensor.Tensor {
	v := *x
	v.Shape = append([]int{1}, x.Shape...)
	v.Stride = tensor.ContiguousStride(v.Shape)
	return &v
}

// Unbatched views (1, T, H) as (T, H), and takes (T, H) as it is.
func Unbatched(x *tensor.Tensor) *tensor.Tensor {
	if len(x.Shape) != 3 {
		return x
	}
	v := *x
	v.Shape, v.Stride = x.Shape[1:], x.Stride[1:]
	return &v
}
