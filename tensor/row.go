package tensor

// Row returns the bytes of row i, of all dimensions but the last, counted in C
// order. It is nil where the row is not stored as one run of bytes, or where
// these are not the values themselves (conj, neg, quantised types).
func (t *Tensor) Row(i int) []byte {
	last := len(t.Shape) - 1
	if last < 0 || t.Shape[last] != 1 && t.Stride[last] != 1 || t.Conj || t.Neg || t.Quant != nil {
		return nil
	}
	if t.Meta || t.empty() {
		return nil
	}
	at := t.Offset
	for d := last - 1; d >= 0; d-- {
		at += i % t.Shape[d] * t.Stride[d]
		i /= t.Shape[d]
	}
	es := t.DType.Size()
	return t.Data[at*es : (at+t.Shape[last])*es]
}
