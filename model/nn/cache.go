package nn

import (
	"slices"

	"github.com/ilref/ilref/tensor"
)

// Cache holds the keys and values of one request, a row per position, in the
// model's dtype.
type Cache struct {
	layers []kv
}

type kv struct {
	k, v []byte // rows of nkv*D elements
	n    int    // rows
}

// NewCache makes an empty cache of a number of layers.
func NewCache(layers int) *Cache { return &Cache{layers: make([]kv, layers)} }

// Len returns the number of positions that a layer holds.
func (c *Cache) Len(layer int) int { return c.layers[layer].n }

// Fork returns a cache with the same rows. What is added to one is not seen in
// the other.
func (c *Cache) Fork() *Cache {
	f := &Cache{layers: slices.Clone(c.layers)}
	for i, l := range f.layers {
		f.layers[i] = kv{slices.Clip(l.k), slices.Clip(l.v), l.n}
	}
	return f
}

// append adds the rows of k and v (n, nkv*D) to a layer.
func (c *Cache) append(layer int, k, v *tensor.Tensor) {
	l := &c.layers[layer]
	l.k, l.v, l.n = appendRows(l.k, k), appendRows(l.v, v), l.n+k.Shape[0]
}

func appendRows(b []byte, x *tensor.Tensor) []byte {
	n := len(b)
	b = append(b, make([]byte, x.NumBytes())...)
	x.Gather(b[n:], 0)
	return b
}
