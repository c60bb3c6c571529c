package il

import "github.com/ilref/ilref/tensor"

// Value is what a module takes or returns, as the hooks see it: a
// *tensor.Tensor, nil (None), a Tuple, List or Dict of values, an Object, or a
// bool, int, float64 or string.
type Value any

// Tuple is a Python tuple: the positional arguments of a call, or its results.
type Tuple []Value

// List is a Python list.
type List []Value

// Dict is a Python dict with string keys, in insertion order.
type Dict []Item

// Item is one entry of a Dict.
type Item struct {
	Key   string
	Value Value
}

// Object is any other Python object: its class name and str() of it, as the
// side files record it.
type Object struct {
	Type, Repr string
}

// Tensor returns item i as a tensor, nil where it is None.
func (t Tuple) Tensor(i int) *tensor.Tensor {
	x, _ := t[i].(*tensor.Tensor)
	return x
}
