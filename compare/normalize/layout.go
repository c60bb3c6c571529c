package normalize

import (
	"cmp"
	"io"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// row is what a row of a forward pass computes: a position of a request.
// Padding has request -1.
type row struct{ request, position int }

// place is where a row lies.
type place struct{ forward, index int }

// pass is one forward pass of a session.
type pass struct {
	step   int   // the number of its directory; its logits lie in the next
	rows   []row // one a token
	ends   []row // the last rows of its chunks, of which logits are computed
	logits []row // what the rows of its logits are; nil where not recorded
}

// layout says what every row of a session computes.
type layout struct {
	session *il.Session
	passes  []pass
	tokens  [][]int // of every request, by position
	rows    map[row]place
	logits  map[row]place
}

// layoutOf finds the rows of a session by the tokens and positions in rows,
// which has the same forwards.
func layoutOf(s, rows *il.Session) (*layout, error) {
	plan, err := requests.Read(rows, nil)
	if err != nil {
		return nil, err
	}
	l := &layout{session: s, rows: map[row]place{}, logits: map[row]place{}}
	for i, st := range plan.Steps {
		p := pass{step: st.Number}
		for _, c := range st.Chunks {
			p.add(c)
			if c.Request >= 0 {
				for len(l.tokens) <= c.Request {
					l.tokens = append(l.tokens, nil)
				}
				l.tokens[c.Request] = append(append(l.tokens[c.Request], c.History...), c.IDs...)
			}
		}
		if recordedLogits(s, st.Number+1) != len(p.logits) {
			p.logits = nil
		}
		for k, r := range p.rows {
			l.rows[r] = place{i, k}
		}
		for k, r := range p.logits {
			l.logits[r] = place{i, k}
		}
		l.passes = append(l.passes, p)
	}
	return l, nil
}

// withPositions adds the positions that transformers gives one sequence without
// padding: from 0 for a prompt, and behind its cache for one token. Nothing
// compares them.
func withPositions(s *il.Session) *il.Session {
	var steps []*il.Step
	next := 0
	for _, st := range s.Steps {
		out := &il.Step{Number: st.Number, Calls: st.Calls}
		i := slices.IndexFunc(st.Calls, func(c *il.Call) bool { return c.Module == topology.EmbedTokensName })
		layer := slices.IndexFunc(st.Calls, func(c *il.Call) bool { return c.Module == topology.InLayer(0, "") })
		if i >= 0 && (layer < 0 || st.Calls[layer].Slot(il.Inputs, "0") == nil) {
			ids := integers(st.Calls[i].Slot(il.Inputs, "0"))
			if len(ids) != 1 {
				next = 0
			}
			positions := make([]int, len(ids))
			for k := range positions {
				positions[k] = next + k
			}
			next += len(ids)
			out.Calls = slices.Concat(st.Calls, []*il.Call{positionsCall(positions)})
			if layer >= 0 {
				out.Calls = slices.Delete(out.Calls, layer, layer+1)
			}
		}
		steps = append(steps, out)
	}
	return il.NewSession(s.Dir, s.Variant, steps)
}

func positionsCall(positions []int) *il.Call {
	return &il.Call{Module: topology.InLayer(0, ""), Slots: []*il.Slot{positionsSlot("0", positions, len(positions))}}
}

func positionsSlot(path string, positions []int, shape ...int) *il.Slot {
	f := il.VirtualTensor("cpu", "positions", func() (*tensor.Tensor, io.Closer, error) {
		return tensor.FromInts(tensor.Int64, positions, shape...), closers{}, nil
	})
	return &il.Slot{Direction: il.Inputs, Path: path, Tensors: []*il.TensorFile{f}}
}

// withHFPositions records the positions of a session of transformers as the
// releases before 5 do, found as withPositions does. Where they cannot be told,
// of a batch or of a token whose step before is not recorded, it adds none.
func withHFPositions(hf *il.Session) *il.Session {
	var steps []*il.Step
	next, after := 0, -1 // the position behind a step
	for _, st := range hf.Steps {
		out := &il.Step{Number: st.Number, Calls: st.Calls}
		steps = append(steps, out)
		embed, rope := hf.Call(st.Number, topology.EmbedTokensName, 0), hf.Call(st.Number, topology.PositionsSource.Module, 0)
		if embed == nil || rope != nil && rope.Slot(il.Inputs, topology.PositionsSource.Arg) != nil {
			continue
		}
		shape := slotShape(embed.Slot(il.Inputs, "0"))
		switch {
		case len(shape) != 2 || shape[0] != 1:
			continue
		case shape[1] > 1:
			next = 0
		case after != st.Number-1:
			continue
		}
		positions := make([]int, shape[1])
		for i := range positions {
			positions[i] = next + i
		}
		next, after = next+len(positions), st.Number
		slots := []*il.Slot{positionsSlot(topology.PositionsSource.Arg, positions, shape...)}
		if rope != nil {
			slots = slices.Concat(rope.Slots, slots)
		}
		out.Calls = append(slices.DeleteFunc(slices.Clone(st.Calls), func(c *il.Call) bool { return c == rope }), &il.Call{Module: topology.PositionsSource.Module, Slots: slots})
	}
	return il.NewSession(hf.Dir, hf.Variant, steps)
}

func (p *pass) add(c requests.Chunk) {
	for k := range c.IDs {
		r := row{c.Request, c.Start + k}
		if c.Request < 0 {
			r = row{-1, 0}
		}
		p.rows = append(p.rows, r)
	}
	if c.Request < 0 {
		return
	}
	end := row{c.Request, c.Start + len(c.IDs) - 1}
	p.ends = append(p.ends, end)
	if c.Sample {
		p.logits = append(p.logits, end)
	}
}

// recordedLogits counts the rows of logits in a step, -1 where there are none.
func recordedLogits(s *il.Session, step int) int {
	c := s.Call(step, topology.LogitsProcessorName, 0)
	if c == nil {
		return -1
	}
	for _, slot := range c.Slots {
		if shape := slotShape(slot); len(shape) == 2 {
			return shape[0]
		}
	}
	return -1
}

// matching pairs the requests of two sessions: to[i] is the target's request
// for the reference's i, -1 for none.
type matching struct{ to, from []int }

// match pairs requests by how many tokens they begin with in common, equal
// ones in order. Requests that begin with other tokens have no partner.
func match(ref, target [][]int) matching {
	type pair struct{ r, t, common int }
	var pairs []pair
	for i, r := range ref {
		for j, t := range target {
			if n := commonPrefix(r, t); n > 0 {
				pairs = append(pairs, pair{i, j, n})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(b.common, a.common) })
	m := matching{slices.Repeat([]int{-1}, len(ref)), slices.Repeat([]int{-1}, len(target))}
	for _, p := range pairs {
		if m.to[p.r] < 0 && m.from[p.t] < 0 {
			m.to[p.r], m.from[p.t] = p.t, p.r
		}
	}
	return m
}

// inOrder pairs requests by their order of appearance.
func inOrder(ref, target [][]int) matching {
	m := matching{slices.Repeat([]int{-1}, len(ref)), slices.Repeat([]int{-1}, len(target))}
	for i := range min(len(ref), len(target)) {
		m.to[i], m.from[i] = i, i
	}
	return m
}

// common counts the tokens that paired requests begin with in common.
func (m matching) common(ref, target [][]int) int {
	n := 0
	for i, j := range m.to {
		if j >= 0 {
			n += commonPrefix(ref[i], target[j])
		}
	}
	return n
}

func commonPrefix(a, b []int) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// partner is the same position of the request's partner.
func partner(to []int, r row) (row, bool) {
	if r.request < 0 || to[r.request] < 0 {
		return row{}, false
	}
	return row{to[r.request], r.position}, true
}
