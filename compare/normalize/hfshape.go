package normalize

import (
	"fmt"
	"slices"

	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// as is change, and then as many dimensions as vLLM's tensor has: transformers'
// has the heads of queries and keys apart where they are normalised.
func as(table *topology.Table, e topology.Mapping, change func(*tensor.Tensor) (*tensor.Tensor, error)) func(*tensor.Tensor) (*tensor.Tensor, error) {
	m := table.Of.Of(e.Module)
	known := m.Tensor(e.Output, e.Slot)
	if known == nil {
		return change
	}
	rank := len(known.Shape)
	if rank > 0 && known.Shape[0] == topology.One {
		rank-- // the batch dimension, which is off
	}
	return func(t *tensor.Tensor) (*tensor.Tensor, error) {
		switch {
		case table.HeadsFirst && m.Kind == topology.QKNorm && len(t.Shape) == 4:
			t = tokensFirst(t)
		case rank > 1 && len(t.Shape) == rank:
			return t, nil // a mixture of experts is given the tokens of all sequences as rows
		}
		t, err := change(t)
		if err != nil {
			return nil, err
		}
		return folded(t, rank)
	}
}

// tokensFirst views (B, nh, T, D) as (B, T, nh, D).
func tokensFirst(t *tensor.Tensor) *tensor.Tensor {
	v := *t
	v.Shape, v.Stride = slices.Clone(t.Shape), slices.Clone(t.Stride)
	v.Shape[1], v.Shape[2] = t.Shape[2], t.Shape[1]
	v.Stride[1], v.Stride[2] = t.Stride[2], t.Stride[1]
	return &v
}

// flat drops the batch dimension: (1,S,…) is a view of (S,…), and the
// sequences of a larger batch follow one another.
func flat(t *tensor.Tensor) (*tensor.Tensor, error) {
	if len(t.Shape) < 2 {
		return nil, fmt.Errorf("is %s, expected a batch dimension before that of the tokens, as transformers has", t)
	}
	if t.Shape[0] != 1 && t.Stride[0] != t.Shape[1]*t.Stride[1] {
		if err := copyable(t); err != nil {
			return nil, err
		}
		t = t.Clone()
	}
	out := *t
	out.Shape = append([]int{t.Shape[0] * t.Shape[1]}, t.Shape[2:]...)
	out.Stride = append([]int{t.Stride[1]}, t.Stride[2:]...)
	return &out, nil
}

// folded makes one of the last dimensions of a tensor, so that it has n; n of 0
// is not known.
func folded(t *tensor.Tensor, n int) (*tensor.Tensor, error) {
	if n == 0 || len(t.Shape) <= n {
		return t, nil
	}
	for d := n; d < len(t.Shape); d++ {
		if t.Stride[d-1] != t.Shape[d]*t.Stride[d] {
			if err := copyable(t); err != nil {
				return nil, err
			}
			t = t.Clone()
			break
		}
	}
	out := *t
	out.Shape = append(slices.Clone(t.Shape[:n-1]), product(t.Shape[n-1:]))
	out.Stride = append(slices.Clone(t.Stride[:n-1]), t.Stride[len(t.Stride)-1])
	return &out, nil
}

// lastRows are the rows of the last token of every sequence: transformers
// computes the logits of all tokens where it is not told to keep the last.
func lastRows(t *tensor.Tensor) (*tensor.Tensor, error) {
	if len(t.Shape) == 3 && t.Shape[1] > 1 {
		t = t.Narrow(1, t.Shape[1]-1, t.Shape[1])
	}
	return flat(t)
}
