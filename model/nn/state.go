package nn

import (
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// Stateful is a module that keeps something of a request from step to step.
type Stateful interface {
	Module
	// NewState is what it keeps of a request that has not begun.
	NewState() State
	// Store keeps of its arguments what Forward keeps, and computes nothing.
	Store(s *Step, in il.Tuple)
}

// State is what one module keeps of one request.
type State interface {
	// Len is the number of positions that it has seen.
	Len() int
	// Fork returns a state that holds the same. What is added to one is not
	// seen in the other.
	Fork() State
	// Truncate forgets the positions from n on.
	Truncate(n int)
}

// StatesOf returns the modules with a state that m is or holds.
func StatesOf(m Module) []Stateful {
	var list []Stateful
	for _, x := range Named(m) {
		if s, ok := x.(Stateful); ok {
			list = append(list, s)
		}
	}
	return list
}

// Cache holds the states of one request. The zero value is that of a request
// that has not begun.
type Cache struct {
	states map[Stateful]State
}

// NewCache makes the cache of a request that has not begun.
func NewCache() *Cache { return &Cache{} }

// State returns what a module keeps of the request.
func (c *Cache) State(m Stateful) State {
	if c.states[m] == nil {
		if c.states == nil {
			c.states = map[Stateful]State{}
		}
		c.states[m] = m.NewState()
	}
	return c.states[m]
}

// Fork returns a cache that holds the same.
func (c *Cache) Fork() *Cache {
	f := &Cache{states: map[Stateful]State{}}
	for m, s := range c.states {
		f.states[m] = s.Fork()
	}
	return f
}

// Truncate forgets the positions from n on.
func (c *Cache) Truncate(n int) {
	for _, s := range c.states {
		s.Truncate(n)
	}
}

// KeysAndValues is the state of an attention: a row a position, in the model's
// dtype.
type KeysAndValues struct {
	k, v []byte // rows of nkv*D elements
	n    int    // rows
}

// Len is the number of rows.
func (s *KeysAndValues) Len() int { return s.n }

// Fork returns the same rows.
func (s *KeysAndValues) Fork() State {
	return &KeysAndValues{slices.Clip(s.k), slices.Clip(s.v), s.n}
}

// Truncate forgets the rows from n on. Forks keep theirs.
func (s *KeysAndValues) Truncate(n int) {
	if n >= s.n {
		return
	}
	s.k, s.v, s.n = slices.Clip(s.k[:len(s.k)/s.n*n]), slices.Clip(s.v[:len(s.v)/s.n*n]), n
}

// append adds the rows of k and v (n, nkv*D).
func (s *KeysAndValues) append(k, v *tensor.Tensor) {
	s.k, s.v, s.n = appendRows(s.k, k), appendRows(s.v, v), s.n+k.Shape[0]
}

func appendRows(b []byte, x *tensor.Tensor) []byte {
	n := len(b)
	b = append(b, make([]byte, x.NumBytes())...)
	x.Gather(b[n:], 0)
	return b
}
