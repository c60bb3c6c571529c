package foreign

import (
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// callsOf tells the calls of a step apart, in a dump that lists values in the order
// in which they were seen.
type callsOf struct {
	calls []*seenCall
	now   map[string]*seenCall // the last call of each module
}

// seenCall is one call of a module.
type seenCall struct {
	module   string
	index    int
	layer    int // in whose forward it was made, -1 where that is not known
	values   []seenValue
	returned bool
}

type seenValue struct {
	dir  il.Direction
	slot string
	file *il.TensorFile
}

func (s *seenCall) has(d il.Direction, slot string) bool {
	return slices.ContainsFunc(s.values, func(v seenValue) bool { return v.dir == d && v.slot == slot })
}

// add takes in a value. It is of the module's next call where the last one holds it
// already, or has returned and is given an argument.
func (s *callsOf) add(module string, d il.Direction, slot string, f dumperFile) {
	c := s.now[module]
	if c == nil || c.has(d, slot) || d == il.Inputs && c.returned {
		c = &seenCall{module: module, layer: f.layer}
		if s.now == nil {
			s.now = map[string]*seenCall{}
		}
		s.now[module] = c
		s.calls = append(s.calls, c)
	}
	c.values = append(c.values, seenValue{d, slot, f.file})
	c.returned = c.returned || d == il.Outputs
}

// list returns the calls in the order in which they were first seen, numbered.
func (s *callsOf) list() []*seenCall {
	byModule := map[string][]*seenCall{}
	for _, c := range s.calls {
		c.index = len(byModule[c.module])
		byModule[c.module] = append(byModule[c.module], c)
	}
	for module, calls := range byModule {
		numberByLayer(topology.Of(module), calls)
	}
	return s.calls
}

// numberByLayer numbers the calls of a rotary embedding that layers share by the
// layers that call it, where these are told: a filter may have left some out.
func numberByLayer(m topology.Module, calls []*seenCall) {
	if !m.Shared || m.Layer < 0 {
		return
	}
	last := m.Layer - 1
	for _, c := range calls {
		if c.layer <= last {
			return
		}
		last = c.layer
	}
	for _, c := range calls {
		c.index = c.layer - m.Layer
	}
}
