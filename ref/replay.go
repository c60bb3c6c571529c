package ref

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// Recorder is told the calls that a replay makes, in the places where the
// replayed session recorded them.
type Recorder interface {
	nn.Hooks
	SkipTo(step int)
	// SetCall sets the index of the next call of a module in the step.
	SetCall(module string, call int)
	// Noise is told how many times what rounding explains each element of a
	// result of the last call is off in the replayed session (nn.Deviation).
	// slot is that of the result.
	Noise(module, slot string, z *tensor.Tensor)
	// Err returns the first failure of the calls so far.
	Err() error
}

// SkippedCall is a call that could not be computed again.
type SkippedCall struct {
	Step   int
	Module string
	Call   int
	Reason string
}

// Replay computes every recorded call of a session from the session's own
// recorded inputs, each on its own, so that a module's output differs from the
// recorded one only by what that module did. Attention takes its keys and
// values from the session's earlier calls. An argument that is not recorded is
// taken from where its module says that it comes from: queries and keys from
// the rotary embedding, and what a self_attn is given, which hooks do not see,
// from its neighbours. It returns the calls that cannot be
// computed, with the reason.
func (e *Engine) Replay(ctx context.Context, s *il.Session, histories [][]int, rec Recorder, progress Progress) ([]SkippedCall, error) {
	_, skipped, err := e.ReplayPart(ctx, s, Part{Histories: histories}, rec, progress)
	return skipped, err
}

// replayer is a replay on its way through a session.
type replayer struct {
	engine *Engine
	part   Part
	plans  map[int]requests.Step
	noPlan error // why the rows could not be read as requests
	ranks  int   // of tensor parallelism, as the session says; 0 for unknown

	needed map[nn.Stateful]bool // by what holds them in a part

	step  *il.Step
	views []*view // of the ranks that remember other things; the first is that of all
	apart int     // how many ranks hold something else of what was read for the call at hand
}

// begin lays out the rows of a step.
func (r *replayer) begin(st *il.Step) {
	r.step = st
	for _, v := range r.views {
		v.begin()
	}
}

// call computes one recorded call and shows it to the recorder.
func (r *replayer) call(c *il.Call, rec Recorder) error {
	m, runs, err := r.prepare(c)
	if err != nil {
		return err
	}
	shown := nn.Seen(m, runs[0].in)
	rec.SetCall(c.Module, c.Index)
	rec.Pre(c.Module, shown)
	for i, x := range runs {
		runs[i].out = m.Forward(x.step, x.in)
	}
	out, err := r.together(c, runs)
	if err != nil {
		return err
	}
	rec.Post(c.Module, shown, out)
	return r.noise(c, m, runs, rec)
}

// bare is a step that nothing sees.
func (r *replayer) bare() *nn.Step {
	return &nn.Step{Numerics: r.engine.numerics, Hooks: nn.NoHooks{}, Ranks: r.ranks}
}

// run is what one rank computes in a call.
type run struct {
	view *view
	in   il.Tuple
	step *nn.Step
	out  il.Value // once it is computed
}

// result is what the run returned as result i, nil where that is no tensor.
func (x *run) result(i int) *tensor.Tensor {
	if t, ok := x.out.(il.Tuple); ok {
		return t.Tensor(i)
	}
	return il.Tuple{x.out}.Tensor(i)
}

// run finds what a call needs on a rank: its inputs and what it attends to.
func (r *view) run(c *il.Call, m nn.Module) (run, error) {
	in, err := r.inputs(c, m)
	if err != nil {
		return run{}, err
	}
	if err := nn.CheckInputs(m, r.engine.numerics.DType(), in); err != nil {
		return run{}, err
	}
	s := r.bare()
	s.Spans, err = r.attending(m, in)
	return run{view: r, in: in, step: s}, err
}

// inputs finds what a module was given in a call.
func (r *view) inputs(c *il.Call, m nn.Module) (il.Tuple, error) {
	var in il.Tuple
	for i, input := range m.Inputs() {
		if input.Fixed {
			in = append(in, input.Value)
			continue
		}
		x, err := r.input(c, m, i)
		if err != nil {
			return nil, err
		}
		in = append(in, x)
	}
	return in, nil
}

// input finds argument i of a call: where the call recorded it, or where the
// module says that it comes from.
func (r *view) input(c *il.Call, m nn.Module, i int) (*tensor.Tensor, error) {
	sources := m.Sources(i, c.Index)
	spec := m.Spec()
	if hooked := !spec.Keyword && (spec.Positional == 0 || i < spec.Positional); hooked && (slotOf(c, il.Inputs, i) != nil || len(sources) == 0) {
		return r.read(c, il.Inputs, i)
	}
	for _, s := range sources {
		if x, err := r.source(s); x != nil || err != nil {
			return x, err
		}
	}
	if n := r.rowsInStep(); n > 0 && i > 0 && m.Inputs()[i].Ints && spec.Positional > 0 { // positions that no hook sees
		x, err := r.input(c, m, 0)
		if err != nil {
			return nil, err
		}
		if nn.Rows(m, il.Tuple{x}) != n {
			return nil, errors.New("its rows do not match the step's requests")
		}
		return r.positions(x.Shape[:len(x.Shape)-1]...), nil
	}
	return nil, missing(c, m, i)
}

// rowsInStep is how many rows the step has by its requests, 0 where they are not known.
func (r *view) rowsInStep() int {
	n := 0
	for _, c := range r.plans[r.step.Number].Chunks {
		n += len(c.IDs)
	}
	return n
}

// positions are those of the step's rows, by its requests, in a shape.
func (r *view) positions(shape ...int) *tensor.Tensor {
	var at []int
	for _, c := range r.plans[r.step.Number].Chunks {
		for i := range c.IDs {
			at = append(at, c.Start+i)
		}
	}
	return tensor.FromInts(tensor.Int64, at, shape...)
}

// source finds a tensor in the calls of the step, and makes of it what was made outside
// modules; nil where it is not there.
func (r *view) source(s nn.Source) (*tensor.Tensor, error) {
	if s.Make != nil {
		return r.made(s)
	}
	x, err := r.found(s)
	if x == nil || err != nil || s.Made == nil {
		return x, err
	}
	var with *tensor.Tensor
	for _, w := range s.With {
		if with, err = r.source(w); with != nil || err != nil {
			break
		}
	}
	if err != nil || with == nil && len(s.With) > 0 {
		return nil, err
	}
	return s.Made(r.bare(), x, with), nil
}

// found finds a tensor in the calls of the step: as it was recorded, or
// computed from what its module was given; nil where neither is there.
func (r *view) found(s nn.Source) (*tensor.Tensor, error) {
	dir := il.Inputs
	if s.Output {
		dir = il.Outputs
	}
	for _, c := range r.step.Calls {
		if c.Module != s.Module.Name() || !s.Any && c.Index != s.Call {
			continue
		}
		switch {
		case slotOf(c, dir, s.Index) != nil:
			x, err := r.read(c, dir, s.Index)
			if err != nil {
				return nil, err
			}
			return columns(x, s)
		case s.Output && s.Compute:
			x, err := r.computed(c, s)
			if err != nil {
				return nil, err
			}
			return columns(x, s)
		}
	}
	if s.Output && s.Compute && len(s.Module.Sources(1, s.Call)) > 0 { // its call is not recorded: perhaps all that it was given is
		if x, err := r.computed(&il.Call{Module: s.Module.Name(), Index: s.Call}, s); err == nil {
			return x, nil
		}
	}
	return nil, nil
}

// made is a tensor that a source makes of others, nil where one of them is not there.
func (r *view) made(s nn.Source) (*tensor.Tensor, error) {
	parts := make([]*tensor.Tensor, len(s.Parts))
	for i, p := range s.Parts {
		x, err := r.source(p)
		if x == nil || err != nil {
			return nil, err
		}
		parts[i] = x
	}
	return s.Make(parts), nil
}

// columns is those of a recorded tensor that a source is.
func columns(x *tensor.Tensor, s nn.Source) (*tensor.Tensor, error) {
	if s.Flat && len(x.Shape) == 3 {
		x = nn.Flatten(x.Clone())
	}
	if s.Hi == 0 {
		return x, nil
	}
	if len(x.Shape) != 2 || x.Shape[1] < s.Hi {
		return nil, fmt.Errorf("%s returned %s, expected %d columns and more", s.Module.Name(), x, s.Hi)
	}
	return x.Narrow(1, s.Lo, s.Hi).Clone(), nil
}

// computed is a result of a module that keeps nothing from step to step.
func (r *view) computed(c *il.Call, s nn.Source) (*tensor.Tensor, error) {
	if len(nn.StatesOf(s.Module)) > 0 {
		return nil, fmt.Errorf("%s was not logged, and its state is not known", c.Module)
	}
	in, err := r.inputs(c, s.Module)
	if err == nil {
		err = nn.CheckInputs(s.Module, r.engine.numerics.DType(), in)
	}
	if err != nil {
		return nil, err
	}
	out := s.Module.Forward(r.bare(), in)
	if t, ok := out.(il.Tuple); ok {
		return t.Tensor(s.Index), nil
	}
	return out.(*tensor.Tensor), nil
}

// missing says that argument i of a call is nowhere, and what could tell it.
func missing(c *il.Call, m nn.Module, i int) error {
	what := fmt.Sprintf("inputs %d of %s was not logged", i, c.Module)
	if m.Spec().Keyword {
		what = "it records no inputs"
	}
	var could []string
	for _, s := range m.Sources(i, c.Index) {
		name := s.Module.Name()
		if s.Call > 0 && !s.Any {
			name = fmt.Sprintf("call %d of %s", s.Call, name)
		}
		could = append(could, name)
	}
	switch len(could) {
	case 0:
		return errors.New(what)
	case 1:
		return fmt.Errorf("%s, and %s was not logged", what, could[0])
	}
	return fmt.Errorf("%s, and neither %s was logged", what, strings.Join(could, " nor "))
}

// read returns a copy of a recorded tensor: modules write in place.
func (r *view) read(c *il.Call, dir il.Direction, i int) (*tensor.Tensor, error) {
	slot := slotOf(c, dir, i)
	switch {
	case slot == nil:
		return nil, fmt.Errorf("%s %d of %s was not logged", dir, i, c.Module)
	case len(slot.Tensors) == 0:
		return nil, fmt.Errorf("%s %d of %s was too large to be logged", dir, i, c.Module)
	}
	x, err := r.readRank(slot.Tensors[0])
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

// slotOf is argument or result i of a call, nil where it is not recorded. A
// single one has no number.
func slotOf(c *il.Call, dir il.Direction, i int) *il.Slot {
	slot := c.Slot(dir, strconv.Itoa(i))
	if slot == nil && i == 0 {
		slot = c.Slot(dir, "")
	}
	return slot
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

// attending returns the spans for a module that is or holds others with a
// state: the recorded caches for one that is, which adds to them, and copies for
// the modules around it, which must not.
func (r *view) attending(m nn.Module, in il.Tuple) ([]nn.Span, error) {
	states := nn.StatesOf(m)
	if len(states) == 0 {
		return nil, nil
	}
	if r.noPlan != nil {
		return nil, r.noPlan
	}
	_, own := m.(nn.Stateful)
	spans := make([]nn.Span, len(r.spans))
	for i, sp := range r.spans {
		start := r.plans[r.step.Number].Chunks[i].Start
		for _, st := range states {
			if have := sp.Cache.State(st).Len(); have != start {
				return nil, fmt.Errorf("the keys and values of positions %d to %d were not logged (an earlier step was not, or they came from a prefix cache)", have, start-1)
			}
		}
		spans[i] = sp
		if !own {
			spans[i].Cache = sp.Cache.Fork()
		}
	}
	if n := len(spans); n == 0 || spans[n-1].Hi != nn.Rows(m, in) {
		return nil, errors.New("its rows do not match the step's positions")
	}
	return spans, nil
}
