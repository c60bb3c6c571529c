// Package faults breaks the engine on purpose, to prove that ildiff finds what
// is broken. A fault never is a branch in a formula: it wraps the arithmetic,
// changes the module tree before the run, changes a tensor where a hook sees
// it, or changes the tokens. The tests of this package are its only user.
package faults

import (
	"context"
	"fmt"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/tensor"
)

// Place is one call of a module, as a session names it.
type Place struct {
	Step   int
	Module string
	Call   int
}

func (p Place) String() string {
	if p.Call == 0 {
		return fmt.Sprintf("step %d %s", p.Step, p.Module)
	}
	return fmt.Sprintf("step %d %s_%d", p.Step, p.Module, p.Call)
}

// Run is one run of a model over given tokens, and what changes it.
type Run struct {
	Model *model.CausalLM
	Plan  *requests.Plan

	// Arriving sees the arguments of a call before they are logged, and may
	// change them in place.
	Arriving []func(at Place, args il.Tuple)
	// Entering sees them after, and returns those that the module is given.
	Entering []func(at Place, args il.Tuple) il.Tuple
	// Leaving sees what a call returns before it is logged, and may change it
	// in place.
	Leaving []func(at Place, out il.Value)

	wraps []func(nn.Computation) nn.Computation
	open  []Place // the calls that have not returned
}

// Wrap computes the modules of a type by f, which is given how they are computed
// otherwise; the last is the outermost.
func Wrap[M nn.Module](r *Run, f func(s *nn.Step, m M, in il.Tuple, forward nn.Computation) il.Value) {
	r.wraps = append(r.wraps, func(inner nn.Computation) nn.Computation {
		return func(s *nn.Step, m nn.Module, in il.Tuple) il.Value {
			if x, ok := m.(M); ok {
				return f(s, x, in, inner)
			}
			return inner(s, m, in)
		}
	})
}

// each calls f with the modules of a type.
func each[M nn.Module](m *model.CausalLM, f func(M)) {
	for _, x := range m.Modules() {
		if x, ok := x.(M); ok {
			f(x)
		}
	}
}

// get is a module of a model, which has it under this name and of this type.
func get[M nn.Module](m *model.CausalLM, name string) M { return m.Module(name).(M) }

// At is the call that is computed.
func (r *Run) At() Place { return r.open[len(r.open)-1] }

func (r *Run) engine(cfg ref.Config) (*ref.Engine, error) {
	e, err := ref.NewEngine(r.Model, cfg)
	if err != nil {
		return nil, err
	}
	for _, w := range r.wraps {
		e.Intercept(w)
	}
	return e, nil
}

// Compute runs the plan's tokens, hooks seeing every call.
func (r *Run) Compute(cfg ref.Config, hooks ref.Hooks) ([]ref.SampledToken, error) {
	engine, err := r.engine(cfg)
	if err != nil {
		return nil, err
	}
	if err := engine.CheckPlan(r.Plan); err != nil {
		return nil, err
	}
	engine.Hooks = &injector{Run: r, hooks: hooks, calls: map[string]int{}}
	return engine.Rerun(context.Background(), r.Plan, func(int, int, int, int) {})
}

// injector stands between the modules and the hooks of a run.
type injector struct {
	*Run
	hooks ref.Hooks
	step  int
	calls map[string]int // of each module in the step
}

func (i *injector) Pre(module string, args il.Tuple) il.Tuple {
	at := Place{i.step, module, i.calls[module]}
	i.calls[module]++
	i.open = append(i.open, at)
	for _, f := range i.Arriving {
		f(at, args)
	}
	args = i.hooks.Pre(module, args)
	for _, f := range i.Entering {
		args = f(at, args)
	}
	return args
}

func (i *injector) Post(module string, args il.Tuple, out il.Value) {
	at := i.At()
	i.open = i.open[:len(i.open)-1]
	for _, f := range i.Leaving {
		f(at, out)
	}
	i.hooks.Post(module, args, out)
}

func (i *injector) StepDone() error {
	i.step++
	clear(i.calls)
	return i.hooks.StepDone()
}

func (i *injector) SkipTo(step int) {
	if step != i.step {
		i.step = step
		clear(i.calls)
	}
	i.hooks.SkipTo(step)
}

// first is the tensor a module returns, or the first of several.
func first(v il.Value) *tensor.Tensor {
	if t, ok := v.(il.Tuple); ok {
		return t.Tensor(0)
	}
	return v.(*tensor.Tensor)
}

// edit rewrites in place the rows of a floating-point tensor, whose last
// dimension must be dense. Rows are counted over all dimensions before it.
func edit(t *tensor.Tensor, f func(row int, v []float64)) {
	last := len(t.Shape) - 1
	width, es := t.Shape[last], t.DType.Size()
	v := make([]float64, width)
	for row := range t.Numel() / width {
		pos, rest := t.Offset, row
		for d := last - 1; d >= 0; d-- {
			pos += rest % t.Shape[d] * t.Stride[d]
			rest /= t.Shape[d]
		}
		b := t.Data[pos*es : (pos+width)*es]
		tensor.LoadFloat64(v, t.DType, b)
		f(row, v)
		tensor.StoreFloat64(b, t.DType, v)
	}
}

// Edit rewrites in place the rows of a floating-point tensor, whose last
// dimension must be dense.
func Edit(t *tensor.Tensor, f func(row int, v []float64)) { edit(t, f) }

// edited is a copy of a tensor with its rows rewritten.
func edited(t *tensor.Tensor, f func(row int, v []float64)) *tensor.Tensor {
	c := t.Clone()
	edit(c, f)
	return c
}

// permuted is a copy of a matrix whose row i is row from(i) of m.
func permuted(m *tensor.Tensor, from func(i int) int) *tensor.Tensor {
	c := tensor.New(m.DType, m.Shape...)
	width := c.NumBytes() / m.Shape[0]
	for i := range m.Shape[0] {
		j := from(i)
		m.Narrow(0, j, j+1).Gather(c.Data[i*width:(i+1)*width], 0)
	}
	return c
}

// columns is a copy of a matrix whose column i is column from(i) of m.
func columns(m *tensor.Tensor, from func(i int) int) *tensor.Tensor {
	c := m.Clone()
	old := make([]float64, m.Shape[1])
	edit(c, func(_ int, v []float64) {
		copy(old, v)
		for i := range v {
			v[i] = old[from(i)]
		}
	})
	return c
}
