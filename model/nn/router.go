package nn

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Router is a linear of the logits of experts, which may be float32 beside a half type: as
// vLLM's gates say, or as transformers' classes upcast what they multiply. The bias by
// which experts are chosen is a parameter of it.
type Router struct {
	Base
	Weight LinearMethod
	Bias   *tensor.Tensor // e_score_correction_bias (E,), nil for none

	// Float says that the logits are float32, as the sums are.
	Float bool
	// FloatIn says that what it is given is float32 too: vLLM's torch.nn.Linear in float32.
	FloatIn bool
	// Plain says that it returns a tensor alone.
	Plain bool
	// LikeFloat says that transformers' class has logits in float32.
	LikeFloat bool
}

// NewRouter makes the module of a name and a class.
func NewRouter(name string, spec *topology.Spec, weight LinearMethod, bias *tensor.Tensor) *Router {
	return &Router{Base: NewBase(name, spec), Weight: weight, Bias: bias}
}

// Forward maps (T, H) to the logits (T, E), and None.
func (m *Router) Forward(s *Step, in il.Tuple) il.Value {
	out := s.ops.(routers).route(in.Tensor(0), m)
	if m.Plain {
		return out
	}
	return il.Tuple{out, nil}
}

// Inputs are the hidden states.
func (m *Router) Inputs() []Input {
	_, in := m.Weight.Shape()
	if m.FloatIn {
		return []Input{Residual(in)}
	}
	return []Input{Hidden(in)}
}

// Params are the weight and the bias.
func (m *Router) Params() []Param {
	list := m.Weight.Params()
	if m.Bias != nil {
		list = append(list, Param{"e_score_correction_bias", m.Bias})
	}
	return list
}

// FloatDense is a dense weight that stays as it is stored where the model has another type.
type FloatDense struct{ Dense }

func (d FloatDense) row(o *ops[float32], dst []float32, i int) {
	w, es := d.Weight, d.Weight.DType.Size()
	o.load(dst, w.DType, w.Data[(w.Offset+i*len(dst))*es:][:len(dst)*es])
}

func (d FloatDense) times32(o *ops[float32], x []float32, t int) product[float32] {
	return floatDense(o, d.Weight, x, t)
}

func (d FloatDense) times64(o *ops[float64], x []float64, t int) product[float64] {
	return floatDense(o, d.Weight, x, t)
}

func floatDense[F real](o *ops[F], w *tensor.Tensor, x []F, t int) product[F] {
	k := w.Shape[1]
	return func(y []F, lo, hi int) {
		rows := o.stored(w, lo*k, (hi-lo)*k)
		rows.As = tensor.Invalid
		o.matmul(y, hi-lo, x, k, t, hi-lo, k, rows, false)
	}
}

// Widen copies a tensor into float32; float64 stays.
func (n Numerics) Widen(x *tensor.Tensor) *tensor.Tensor { return n.ops.(routers).widen(x) }

// routers are the kernels of Router.
type routers interface {
	route(x *tensor.Tensor, m *Router) *tensor.Tensor
	widen(x *tensor.Tensor) *tensor.Tensor
}

var _, _ routers = (*ops[float32])(nil), (*ops[float64])(nil)

// route computes x Wᵀ as a linear does, from products that are exact in float32.
func (o *ops[F]) route(x *tensor.Tensor, m *Router) *tensor.Tensor {
	src := rowsOf(x)
	n, k := m.Weight.Shape()
	xs, y := make([]F, src.n*k), make([]F, src.n*n)
	for i := range src.n {
		o.load(xs[i*k:][:k], x.DType, src.bytes(i))
	}
	times(o, m.Weight, xs, src.n)(y, 0, n)
	as := o.dtype
	if m.Float || m.LikeFloat && o.mix.floatRouters {
		as = o.wide()
	}
	out := tensor.New(as, src.n, n)
	o.store(out.Data, as, y)
	return out
}

// wide is float32, or float64 where that is what it computes in.
func (o *ops[F]) wide() tensor.DType {
	if o.dtype == tensor.Float64 {
		return tensor.Float64
	}
	return tensor.Float32
}

func (o *ops[F]) widen(x *tensor.Tensor) *tensor.Tensor {
	out := tensor.New(o.wide(), x.Shape...)
	src, dst := rowsOf(x), rowsOf(out)
	row := make([]F, src.width)
	for i := range src.n {
		o.load(row, x.DType, src.bytes(i))
		o.store(dst.bytes(i), out.DType, row)
	}
	return out
}
