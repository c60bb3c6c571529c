package ref

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Recorder is told the calls that a replay makes, in the places where the
// replayed session recorded them.
type Recorder interface {
	nn.Hooks
	SkipTo(step int)
	// SetCall sets the index of the next call of a module in the step.
	SetCall(module string, call int)
	// Err returns the first failure of the calls so far.
	Err() error
}

// Unreplayed is a call that could not be computed again.
type Unreplayed struct {
	Step   int
	Module string
	Call   int
	Reason string
}

// Replay computes every recorded call of a session from the session's own
// recorded inputs, each on its own, so that a module's output differs from the
// recorded one only by what that module did. Attention takes its keys and
// values from the session's earlier calls, and queries and keys that are not
// recorded from the rotary embedding before it; a self_attn, which records no
// inputs, takes them from its neighbours. It returns the calls that cannot be
// computed, with the reason.
func (e *Engine) Replay(ctx context.Context, s *il.Session, histories [][]int, rec Recorder, progress Progress) ([]Unreplayed, error) {
	_, skipped, err := e.ReplayPart(ctx, s, histories, nil, rec, progress)
	return skipped, err
}

// replayer is a replay on its way through a session.
type replayer struct {
	engine  *Engine
	modules map[string]nn.Module
	caches  map[int]*nn.Cache // of each request, as recorded
	plans   map[int]requests.Step
	noPlan  error // why the rows could not be read as requests

	own  func(module string, call int) bool // of a part, nil for all
	keys map[int]bool                       // layers whose keys a part needs for what holds the attention

	step  *il.Step
	spans []nn.Span // of the step, with the recorded caches
}

// begin lays out the rows of a step.
func (r *replayer) begin(st *il.Step) {
	r.step, r.spans = st, nil
	row := 0
	for _, c := range r.plans[st.Number].Chunks {
		cache := r.caches[c.Request]
		if cache == nil || c.Request < 0 {
			cache = nn.NewCache(len(r.engine.Model.Model.Layers))
			r.caches[c.Request] = cache
		}
		r.spans = append(r.spans, nn.Span{Lo: row, Hi: row + len(c.IDs), Cache: cache})
		row += len(c.IDs)
	}
}

// call computes one recorded call and shows it to the recorder.
func (r *replayer) call(c *il.Call, rec Recorder) error {
	m, in, s, err := r.prepare(c)
	if err != nil {
		return err
	}
	shown := in
	if m.ByKeyword() {
		shown = il.Tuple{}
	}
	rec.SetCall(c.Module, c.Index)
	rec.Pre(c.Module, shown)
	rec.Post(c.Module, shown, m.Forward(s, in))
	return nil
}

// bare is a step that nothing sees.
func (r *replayer) bare() *nn.Step {
	return &nn.Step{Numerics: r.engine.numerics, Hooks: nn.NoHooks{}}
}

// prepare finds what a call needs: its module, its inputs and what it attends
// to.
func (r *replayer) prepare(c *il.Call) (nn.Module, il.Tuple, *nn.Step, error) {
	m := r.modules[c.Module]
	if m == nil {
		return nil, nil, nil, errors.New("the model has no module of this name")
	}
	in, err := r.inputs(c, m)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := nn.CheckInputs(m, r.engine.numerics.DType(), in); err != nil {
		return nil, nil, nil, err
	}
	s := r.bare()
	s.Spans, err = r.attending(m, in)
	return m, in, s, err
}

// inputs reads what a module was given.
func (r *replayer) inputs(c *il.Call, m nn.Module) (il.Tuple, error) {
	switch m := m.(type) {
	case *nn.SelfAttention:
		return r.selfAttentionInputs(m)
	case *nn.LogitsProcessor:
		hidden, err := r.read(c, il.Inputs, 1)
		return il.Tuple{r.engine.Model.Head(), hidden, nil}, err
	}
	var in il.Tuple
	for i, input := range m.Inputs() {
		if input.Absent {
			in = append(in, nil)
			continue
		}
		x, err := r.read(c, il.Inputs, i)
		if a, ok := m.(*nn.Attention); ok && i < 2 && c.Slot(il.Inputs, strconv.Itoa(i)) == nil {
			x, err = r.rotated(a, i)
		}
		if err != nil {
			return nil, err
		}
		in = append(in, x)
	}
	return in, nil
}

// rotated finds the queries (0) or the keys (1) of an attention that did not
// record them: what its rotary embedding returned, or returns for what it was
// given. The rotary embedding of all layers is called once by each.
func (r *replayer) rotated(m *nn.Attention, i int) (*tensor.Tensor, error) {
	self, ok := r.modules[topology.Parent(m.Name())].(*nn.SelfAttention)
	if !ok {
		return nil, fmt.Errorf("inputs %d of %s was not logged", i, m.Name())
	}
	at := slices.IndexFunc(r.step.Calls, func(c *il.Call) bool { return c.Module == self.RotaryEmb.Name() && c.Index == m.Layer })
	if at < 0 {
		return nil, fmt.Errorf("inputs %d of %s was not logged, nor call %d of %s", i, m.Name(), m.Layer, self.RotaryEmb.Name())
	}
	c := r.step.Calls[at]
	if c.Slot(il.Outputs, strconv.Itoa(i)) != nil {
		return r.read(c, il.Outputs, i)
	}
	in, err := r.inputs(c, self.RotaryEmb)
	if err == nil {
		err = nn.CheckInputs(self.RotaryEmb, r.engine.numerics.DType(), in)
	}
	if err != nil {
		return nil, err
	}
	return self.RotaryEmb.Forward(r.bare(), in).(il.Tuple).Tensor(i), nil
}

// selfAttentionInputs finds positions and hidden states in the calls beside
// it: the rotary embedding's first argument and the layer norm's result.
func (r *replayer) selfAttentionInputs(m *nn.SelfAttention) (il.Tuple, error) {
	layer := topology.Parent(m.Name())
	var positions, hidden *tensor.Tensor
	for _, c := range r.step.Calls {
		var err error
		switch {
		case c.Module == layer+"."+topology.InputNormName:
			hidden, err = r.read(c, il.Outputs, 0)
		case positions == nil && (c.Module == layer || c.Module == m.RotaryEmb.Name()):
			positions, err = r.read(c, il.Inputs, 0)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case hidden == nil:
		return nil, fmt.Errorf("it records no inputs, and %s.input_layernorm was not logged", layer)
	case positions == nil:
		return nil, errors.New("it records no inputs, and no positions were logged")
	}
	return il.Tuple{positions, hidden}, nil
}

// read returns a copy of a recorded tensor: modules write in place.
func (r *replayer) read(c *il.Call, dir il.Direction, i int) (*tensor.Tensor, error) {
	slot := c.Slot(dir, strconv.Itoa(i))
	if slot == nil && i == 0 {
		slot = c.Slot(dir, "")
	}
	switch {
	case slot == nil:
		return nil, fmt.Errorf("%s %d of %s was not logged", dir, i, c.Module)
	case len(slot.Tensors) == 0:
		return nil, fmt.Errorf("%s %d of %s was too large to be logged", dir, i, c.Module)
	}
	x, err := readCopy(slot.Tensors[0])
	if err != nil {
		return nil, err
	}
	for _, f := range slot.Tensors[1:] {
		y, err := readCopy(f)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(x.Shape, y.Shape) || !bytes.Equal(x.Data, y.Data) {
			return nil, fmt.Errorf("%s %d of %s differs between the %d ranks that logged it: parts of tensor-parallel ranks are not put together", dir, i, c.Module, len(slot.Tensors))
		}
	}
	return x, nil
}

func readCopy(f *il.TensorFile) (*tensor.Tensor, error) {
	var copied *tensor.Tensor
	err := f.With(func(x *tensor.Tensor) error {
		if err := x.CheckCopy(); err != nil {
			return fmt.Errorf("%s: %w", f.File, err)
		}
		copied = x.Clone()
		return nil
	})
	return copied, err
}

// attending returns the spans for a module that holds attention: the recorded
// caches for the attention itself, which adds its keys to them, and copies for
// the modules around it, which must not.
func (r *replayer) attending(m nn.Module, in il.Tuple) ([]nn.Span, error) {
	attn := m.Holds()
	if attn == nil {
		return nil, nil
	}
	layer, fork := attn.Layer, m != nn.Module(attn)
	if r.noPlan != nil {
		return nil, r.noPlan
	}
	spans := make([]nn.Span, len(r.spans))
	for i, sp := range r.spans {
		start := r.plans[r.step.Number].Chunks[i].Start
		if have := sp.Cache.Len(layer); have != start {
			return nil, fmt.Errorf("the keys and values of positions %d to %d were not logged", have, start-1)
		}
		spans[i] = sp
		if fork {
			spans[i].Cache = sp.Cache.Fork()
		}
	}
	if n := len(spans); n == 0 || spans[n-1].Hi != in.Tensor(0).Shape[0] {
		return nil, errors.New("its rows do not match the step's positions")
	}
	return spans, nil
}
