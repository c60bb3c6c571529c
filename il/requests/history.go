package requests

import (
	"fmt"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// recorded is what a session says of one forward pass.
type recorded struct {
	step      int   // the number of its directory
	positions []int // one a row
	ids       []int // one a row; nil where model.embed_tokens was not logged
	logits    int   // rows given to logits_processor, -1 where not logged

	said []span // whose the rows are, as the session says; nil where it does not
}

// rowsOf is how many rows are of requests, the others being padding.
func rowsOf(rec recorded) int {
	if rec.said == nil {
		return len(rec.positions) - padding(rec)
	}
	n := 0
	for _, sp := range rec.said {
		n = sp.hi
	}
	return n
}

// givenPositions recognises the decoder's modules whose first argument is
// positions.
func givenPositions(module string) bool {
	m := topology.Of(module)
	return m.InDecoder() && m.TakesPositions()
}

func isLogits(module string) bool { return topology.Of(module).Kind == topology.Logits }

// readSteps reads the tokens and positions of every forward pass of a session.
func readSteps(s *il.Session) ([]recorded, error) {
	var out []recorded
	arch := s.Architecture()
	for _, st := range s.Steps {
		forward := slices.ContainsFunc(st.Calls, func(c *il.Call) bool { return !isLogits(c.Module) })
		if !forward { // the logits of the last forward pass
			continue
		}
		r := recorded{step: st.Number, logits: logitRows(s, st.Number+s.LogitsLag())}
		var err error
		if c := embeddingCall(st); c != nil {
			if r.ids, err = ints(s, c, "0"); err != nil {
				return nil, err
			}
		}
		c, slot := positionsCall(arch, st)
		if c == nil {
			if r.positions = positionsElsewhere(s, st, r.ids); r.positions != nil {
				out = append(out, r)
				continue
			}
			return nil, fmt.Errorf("%s: step_%d records no positions: expected the inputs of model.layers.0 or rotary_emb; log one of them to re-run the session", s.Dir, st.Number)
		}
		if r.positions, err = ints(s, c, slot); err != nil {
			return nil, err
		}
		if r.ids != nil && len(r.ids) != len(r.positions) {
			return nil, fmt.Errorf("%s: step_%d has %d input ids but %d positions", s.Dir, st.Number, len(r.ids), len(r.positions))
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no step records a forward pass: nothing to re-run", s.Dir)
	}
	return out, nil
}

// readRows is readSteps with what the session says of its requests, where that is what
// it recorded (Contradicted).
func readRows(s *il.Session) ([]recorded, error) {
	steps, err := readSteps(s)
	if err == nil && s.HasBatches() {
		_ = takeBatches(s, steps)
	}
	return steps, err
}

func embeddingCall(st *il.Step) *il.Call {
	return findCall(st, topology.IsEmbedding)
}

// positionsCall finds a call that was given the positions, and the argument that they are.
func positionsCall(arch *topology.Architecture, st *il.Step) (c *il.Call, slot string) {
	if arch != nil && arch.Batch {
		slot = arch.Of(topology.RotaryEmbName).PositionsSlot()
		for _, c := range st.Calls {
			if slot != "" && c.Module == topology.RotaryEmbName && c.Slot(il.Inputs, slot) != nil {
				return c, slot
			}
		}
		return nil, ""
	}
	if c := findCall(st, func(m string) bool { return m == topology.InLayer(0, "") }); c != nil {
		return c, c.Positions().Path
	}
	return findCall(st, givenPositions), "0"
}

// Telling are the calls of a step whose inputs Read takes the rows from: token
// ids, positions, and how many rows of logits the forward before has.
func Telling(st *il.Step) []*il.Call {
	var out []*il.Call
	for _, c := range []*il.Call{embeddingCall(st), told(st)} {
		if c != nil {
			out = append(out, c)
		}
	}
	for _, c := range st.Calls {
		if isLogits(c.Module) {
			return append(out, c)
		}
	}
	return out
}

// told is the call that tells the positions.
func told(st *il.Step) *il.Call {
	for _, c := range st.Calls {
		if c.Module == topology.RotaryEmbName {
			return c
		}
	}
	c, _ := positionsCall(nil, st)
	return c
}

// findCall returns the first call of a matching module that recorded inputs.
func findCall(st *il.Step, match func(module string) bool) *il.Call {
	for _, c := range st.Calls {
		if match(c.Module) && c.Slot(il.Inputs, "0") != nil {
			return c
		}
	}
	return nil
}

// maxRows bounds the tokens of a step; no engine has more.
const maxRows = 1 << 24

// ints reads an integer vector that a call was given.
func ints(s *il.Session, c *il.Call, slot string) ([]int, error) {
	in := c.Slot(il.Inputs, slot)
	if len(in.Tensors) == 0 {
		why := "too large"
		if s.Lacks() != nil && in.Stub != nil {
			why = in.Stub.Reason
		}
		return nil, fmt.Errorf("%s: %s: inputs %s were not saved (%s): nothing to re-run", s.Dir, c.Module, slot, why)
	}
	f := in.Tensors[0] // the ranks hold the same
	var out []int
	err := f.With(func(t *tensor.Tensor) (err error) {
		if batched(t) {
			t = t.Narrow(0, 0, 1)
			t.Shape, t.Stride = t.Shape[1:], t.Stride[1:]
		}
		if len(t.Shape) != 1 || !t.DType.IsInt() || t.Meta || t.Shape[0] > maxRows {
			return fmt.Errorf("%s: is %s, expected a vector of at most %d integers, as vLLM's %s is given", f.File, t, maxRows, c.Module)
		}
		out, err = t.Ints()
		return err
	})
	return out, err
}

// logitRows returns how many rows the logits_processor of a step was given.
func logitRows(s *il.Session, step int) int {
	for _, st := range s.Steps {
		if st.Number != step {
			continue
		}
		for _, c := range st.Calls {
			if isLogits(c.Module) {
				return slotRows(c)
			}
		}
	}
	return -1
}

func slotRows(c *il.Call) int {
	for _, slot := range c.Slots {
		if slot.Stub != nil && len(slot.Stub.Shape) == 2 {
			return slot.Stub.Shape[0]
		}
		if len(slot.Tensors) == 0 {
			continue
		}
		if t, closer, err := slot.Tensors[0].Open(); err == nil {
			rows := matrixRows(t)
			closer.Close()
			if rows >= 0 {
				return rows
			}
		}
	}
	return -1
}

func matrixRows(t *tensor.Tensor) int {
	if len(t.Shape) != 2 {
		return -1
	}
	return t.Shape[0]
}

// batched reports whether integers have a batch dimension of 1, as vLLM's transformers backend
// gives them.
func batched(t *tensor.Tensor) bool { return len(t.Shape) == 2 && t.Shape[0] == 1 && !t.Meta }
