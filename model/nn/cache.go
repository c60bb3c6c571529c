package nn

import "github.com/ilref/ilref/tensor"

// Cache holds the keys and values of one request, a row per position, in the
// model's dtype.
type Cache struct {
	layers []kv
}

type kv struct{ k, v []byte } // rows of nkv*D elements

// NewCache makes an empty cache of a number of layers.
func NewCache(layers int) *Cache { return &Cache{layers: make([]kv, layers)} }

// append adds the rows of k and v (n, nkv*D) to a layer.
func (c *Cache) append(layer int, k, v *tensor.Tensor) {
	l := &c.layers[layer]
	l.k = appendRows(l.k, k)
	l.v = appendRows(l.v, v)
}

func appendRows(b []byte, x *tensor.Tensor) []byte {
	n := len(b)
	b = append(b, make([]byte, x.NumBytes())...)
	x.Gather(b[n:], 0)
	return b
}
