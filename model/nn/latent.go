package nn

import (
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// LatentAttention is vLLM's Attention (MLAAttention in 2026) of multi-head latent
// attention (DeepSeek-V2): a request keeps one row a position, a latent vector of which
// KVB makes the keys and values of all heads, and the one rotated key that they share.
//
// Tokens of a prompt get their keys and values from KVB, and attend to them as usual.
// Requests with few new tokens decode: each head's queries are taken into the space of
// the latents, which then are keys and values of all heads alike, and its result out of
// there. The two agree up to rounding (vLLM v0.10.2, v1/attention/backends/mla/common.py;
// layers/attention/mla_attention.py in 2026).
type LatentAttention struct {
	Base
	LatentShape
	KVB *Linear // called within, for the tokens of prompts alone
	// DecodeUpTo is the most new tokens of a request that decodes: the backend's
	// reorder_batch_threshold.
	DecodeUpTo int
}

// NewLatentAttention makes the module of a name and a class; kvB is its linear of keys and
// values, whose weight is dense.
func NewLatentAttention(name string, spec *topology.Spec, shape LatentShape, kvB *Linear, decodeUpTo int) *LatentAttention {
	return &LatentAttention{Base: NewBase(name, spec), LatentShape: shape, KVB: kvB, DecodeUpTo: decodeUpTo}
}

// LatentShape is what the arithmetic of latent attention needs to know.
type LatentShape struct {
	Heads  int
	Nope   int     // dimensions of a head's query and key that are not rotated
	Rope   int     // and of those that are
	Latent int     // of a latent vector
	Value  int     // of a head's value
	Scale  float64 // of q·k
}

// prefill is the shape of attention to the keys and values of all heads: values are
// padded to the keys' dimensions.
func (s LatentShape) prefill() AttentionShape {
	return AttentionShape{Heads: 1, KVHeads: 1, HeadDim: s.Nope + s.Rope, Scale: s.Scale}
}

// decode is the shape of the attention of so many heads to rows of the cache, which are
// keys whole and values up to the rotated part.
func (s LatentShape) decode(heads int) AttentionShape {
	return AttentionShape{Heads: heads, KVHeads: 1, HeadDim: s.Latent + s.Rope, Scale: s.Scale}
}

// Forward stores latents (T, Latent) and rotated keys (T, 1, Rope) in the requests'
// caches, and maps q (T, nh, Nope+Rope) to (T, nh*Value). Rows of no request give zeros.
func (m *LatentAttention) Forward(s *Step, in il.Tuple) il.Value {
	m.Store(s, in)
	k := s.ops.(latents)
	q, latent := in.Tensor(0), in.Tensor(1)
	out := tensor.New(s.DType(), q.Shape[0], m.Heads*m.Value)
	prompts, decoded := m.split(s, k)
	if len(prompts) > 0 {
		m.expand(s, k, latent, prompts)
		k.latentPrefill(out, q, m, prompts)
	}
	if len(decoded) > 0 {
		k.latentDecode(out, q, m, decoded)
	}
	return out
}

// latentSpan is the rows of one request and the latents they look at.
type latentSpan struct {
	Span
	rows  *Latents
	start int // positions before the rows

	expanded [][]byte // of each position from the first on, what KVB returned (nh*(Nope+Value))
}

// split tells the requests whose tokens are those of prompts from those that decode.
func (m *LatentAttention) split(s *Step, k latents) (prompts, decoded []*latentSpan) {
	for _, span := range s.Spans {
		n := span.Hi - span.Lo
		rows := span.Cache.State(m).(*Latents)
		l := &latentSpan{Span: span, rows: rows, start: rows.n - n}
		if k.decodes(m, n) {
			decoded = append(decoded, l)
		} else {
			prompts = append(prompts, l)
		}
	}
	return prompts, decoded
}

// expand calls KVB for the new tokens of prompts, and for what came before them.
func (m *LatentAttention) expand(s *Step, k latents, latent *tensor.Tensor, prompts []*latentSpan) {
	fresh := rowsOf(One(s.Call(m.KVB, spansOf(latent, prompts))))
	var before []*latentSpan
	for _, p := range prompts {
		if p.start > 0 {
			before = append(before, p)
		}
	}
	if len(before) > 0 {
		x := m.cached(s, before)
		var kept rows
		if k.asksContext() {
			kept = rowsOf(One(s.Call(m.KVB, x)))
		} else {
			kept = rowsOf(s.Linear(x, m.KVB.Parts))
		}
		at := 0
		for _, p := range before {
			for range p.start {
				p.expanded = append(p.expanded, kept.bytes(at))
				at++
			}
		}
	}
	at := 0
	for _, p := range prompts {
		for range p.Hi - p.Lo {
			p.expanded = append(p.expanded, fresh.bytes(at))
			at++
		}
	}
}

// spansOf is the rows of the spans: a view where they follow one another.
func spansOf(x *tensor.Tensor, spans []*latentSpan) *tensor.Tensor {
	lo, hi := spans[0].Lo, spans[0].Hi
	n := hi - lo
	for _, p := range spans[1:] {
		n += p.Hi - p.Lo
		hi = p.Hi
	}
	if hi-lo == n {
		return x.Narrow(0, lo, hi)
	}
	out := tensor.New(x.DType, n, x.Shape[1])
	src, dst := rowsOf(x), rowsOf(out)
	at := 0
	for _, p := range spans {
		for row := p.Lo; row < p.Hi; row++ {
			copy(dst.bytes(at), src.bytes(row))
			at++
		}
	}
	return out
}

// cached is the latents before the rows of the spans, as vLLM gathers them from the cache:
// columns of its rows.
func (m *LatentAttention) cached(s *Step, spans []*latentSpan) *tensor.Tensor {
	var b []byte
	n := 0
	for _, p := range spans {
		b = append(b, p.rows.rows[:p.start*len(p.rows.rows)/p.rows.n]...)
		n += p.start
	}
	x := tensor.New(s.DType(), n, m.Latent+m.Rope)
	copy(x.Data, b)
	return x.Narrow(1, 0, m.Latent)
}

// NewState is an empty list of latents.
func (m *LatentAttention) NewState() State { return &Latents{} }

// Store stores latents and rotated keys as Forward does, and computes nothing.
func (m *LatentAttention) Store(s *Step, in il.Tuple) {
	latent, key := rowsOf(in.Tensor(1)), rowsOf(in.Tensor(2))
	for _, span := range s.Spans {
		state := span.Cache.State(m).(*Latents)
		for row := span.Lo; row < span.Hi; row++ {
			state.append(latent.bytes(row), key.bytes(row))
		}
	}
}

// Inputs are queries, latents and the heads' rotated key.
func (m *LatentAttention) Inputs() []Input {
	return []Input{Hidden(m.Nope + m.Rope), Hidden(m.Latent), Hidden(m.Rope)}
}

// Latents is the state of a latent attention: a row a position, in the model's dtype.
type Latents struct {
	rows []byte // of Latent+Rope elements
	n    int
}

// Len is the number of rows.
func (s *Latents) Len() int { return s.n }

// Fork returns the same rows.
func (s *Latents) Fork() State { return &Latents{slices.Clip(s.rows), s.n} }

// Truncate forgets the rows from n on. Forks keep theirs.
func (s *Latents) Truncate(n int) {
	if n >= s.n {
		return
	}
	s.rows, s.n = slices.Clip(s.rows[:len(s.rows)/s.n*n]), n
}

// append adds a row.
func (s *Latents) append(latent, key []byte) {
	s.rows = append(append(s.rows, latent...), key...)
	s.n++
}

// row is a row's bytes.
func (s *Latents) row(i int) []byte {
	w := len(s.rows) / s.n
	return s.rows[i*w : (i+1)*w]
}

// latents are the kernels of LatentAttention.
type latents interface {
	// decodes reports whether a request with n new tokens decodes.
	decodes(m *LatentAttention, n int) bool
	// asksContext reports whether KVB is called for what a prompt's earlier chunks kept.
	asksContext() bool
	// latentPrefill sets the rows of the spans by the keys and values of all heads.
	latentPrefill(out, q *tensor.Tensor, m *LatentAttention, spans []*latentSpan)
	// latentDecode sets them in the space of the latents.
	latentDecode(out, q *tensor.Tensor, m *LatentAttention, spans []*latentSpan)
}

var _, _ latents = (*ops[float32])(nil), (*ops[float64])(nil)

// latentPoints are what the profiles' latent attention differs in.
type latentPoints[F real] struct {
	// decodes: transformers has one way for all tokens.
	decodes func(m *LatentAttention, n int) bool
	// asksContext: transformers keeps keys and values.
	asksContext bool
	// whole is the attention to the keys of all heads; nil: the profile's.
	whole func(o *ops[F], m *LatentAttention) headAttention[F]
	// chunked computes a prompt's rows that look at an earlier chunk.
	chunked func(o *ops[F], p *promptHead[F], row int)
}

// latentExactly are those of float32 and float64: an earlier chunk and the rows are looked
// at together, so that a prompt has the same bits in any chunks of it.
func latentExactly[F real]() latentPoints[F] {
	return latentPoints[F]{decodes: decodesFew, asksContext: true, chunked: attendTogether[F]}
}

// latentInTransformers are those of transformers.
var latentInTransformers = latentPoints[float32]{decodes: decodesNever, chunked: attendTogether[float32]}

// latentInSDPA are those with scaled_dot_product_attention: torch's kernels for CPUs take
// values of the keys' size alone, and others are computed in float32 throughout (torch 2.14,
// aten/src/ATen/native/transformers/attention.cpp, _scaled_dot_product_attention_math).
var latentInSDPA = latentPoints[float32]{decodes: decodesNever, chunked: attendTogether[float32], whole: unroundedIfNarrow[float32]}

func unroundedIfNarrow[F real](o *ops[F], m *LatentAttention) headAttention[F] {
	if m.Value == m.Nope+m.Rope {
		return o.attention(o, m.prefill())
	}
	return newBlocks(&ops[F]{gemm: o.gemm, round: exact[F]}, m.prefill(), 512, ascending)
}

func decodesFew(m *LatentAttention, n int) bool { return n <= m.DecodeUpTo }
func decodesNever(*LatentAttention, int) bool   { return false }

func (o *ops[F]) decodes(m *LatentAttention, n int) bool { return o.latent.decodes(m, n) }

// promptAttention is the attention to the keys of all heads.
func (o *ops[F]) promptAttention(m *LatentAttention) headAttention[F] {
	if o.latent.whole != nil {
		return o.latent.whole(o, m)
	}
	return o.attention(o, m.prefill())
}

func (o *ops[F]) asksContext() bool { return o.latent.asksContext }
