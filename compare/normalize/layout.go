package normalize

import (
	"io"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// row is what a row of a forward pass computes: a position of a request.
// Padding has request -1, draft tokens that were rejected have -2.
type row struct{ request, position int }

const (
	padding  = -1
	rejected = -2
)

// place is where a row lies.
type place struct{ forward, index int }

// pass is one forward pass of a session.
type pass struct {
	step   int   // the number of its directory; its logits lie in the next
	rows   []row // one a token
	ids    []int // the tokens
	ends   []row // the last rows of its chunks, of which logits are computed
	logits []row // what the rows of its logits are; nil where not recorded
	more   bool  // logits are of more rows than an engine samples from
}

// layout says what every row of a session computes.
type layout struct {
	session *il.Session
	passes  []pass
	tokens  [][]int // of every request, by position; unknown before its start
	starts  []int   // the first position of every request that the session ran: above 0 behind a prefix that it did not
	drafts  []int   // of every request, its last rows that draft tokens gave and no later step accepted or rejected
	rows    map[row]place
	logits  map[row]place
}

// layoutOf finds the rows of a session by the tokens and positions in rows,
// which has the same forwards.
func layoutOf(s, rows *il.Session) (*layout, error) {
	plan, err := requests.ReadRows(rows)
	if err != nil {
		return nil, err
	}
	l := &layout{session: s, rows: map[row]place{}, logits: map[row]place{}}
	for i, st := range plan.Steps {
		p := pass{step: st.Number}
		for _, c := range st.Chunks {
			p.add(c)
			l.add(c)
		}
		if n := recordedLogits(s, st.Number+1); n != len(p.logits) {
			p.logits = p.lastRows(n)
			p.more = p.logits != nil
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

// add takes in the tokens of a chunk.
func (l *layout) add(c requests.Chunk) {
	if c.Request < 0 {
		return
	}
	if c.Request == len(l.tokens) {
		l.tokens = append(l.tokens, slices.Repeat([]int{unknown}, c.Start))
		l.starts, l.drafts = append(l.starts, c.Start), append(l.drafts, 0)
	}
	l.tokens[c.Request] = append(l.tokens[c.Request], c.IDs[:len(c.IDs)-c.Rejected]...)
	l.drafts[c.Request] = c.Drafts - c.Rejected
}

// whole reports whether the session ran all of its requests from their start.
func (l *layout) whole() bool {
	return !slices.ContainsFunc(l.starts, func(n int) bool { return n > 0 })
}

// withPositions adds the positions that transformers gives one sequence without
// padding: from 0 for a prompt, and behind its cache for one token. Nothing
// compares them.
func withPositions(s *il.Session) *il.Session {
	var steps []*il.Step
	next := 0
	for _, st := range s.Steps {
		out := &il.Step{Number: st.Number, Calls: st.Calls}
		i := slices.IndexFunc(st.Calls, func(c *il.Call) bool { return topology.IsEmbedding(c.Module) })
		layer := slices.IndexFunc(st.Calls, func(c *il.Call) bool { return c.Module == topology.InLayer(0, "") })
		if i >= 0 && (layer < 0 || st.Calls[layer].Positions() == nil) {
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
	out := il.NewSession(s.Dir, s.Variant, steps)
	out.Inherit(s)
	return out
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
		if embed == nil || rope != nil && slices.ContainsFunc(rope.Slots, func(s *il.Slot) bool { return isPositions(rope, s) }) {
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
	return derive(hf, steps)
}

func (p *pass) add(c requests.Chunk) {
	p.ids = append(p.ids, c.IDs...)
	if c.Request < 0 {
		p.rows = append(p.rows, slices.Repeat([]row{{padding, 0}}, len(c.IDs))...)
		return
	}
	kept := len(c.IDs) - c.Rejected
	for k := range c.IDs {
		r := row{c.Request, c.Start + k}
		if k >= kept {
			r.request = rejected
		}
		p.rows = append(p.rows, r)
	}
	if !c.Sample {
		p.ends = append(p.ends, p.rows[len(p.rows)-1])
		return
	}
	sampled := p.rows[len(p.rows)-1-c.Drafts:]
	p.ends = append(p.ends, sampled...)
	p.logits = append(p.logits, sampled...)
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

// partner is the same position of the request's partner.
func partner(to []int, r row) (row, bool) {
	if r.request < 0 || to[r.request] < 0 {
		return row{}, false
	}
	return row{to[r.request], r.position}, true
}
