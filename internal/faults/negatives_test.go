package faults

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/tensor"
)

// negative is a pair of sessions that differ without a fault.
type negative struct {
	name, what string
	settings   func(t *testing.T, b *Bench) (ref, target Setting)
	ranks      bool // the target is logged by tensor-parallel ranks
	ties       bool // tokens go to other experts by near ties
}

func negatives() []negative {
	same := func(ref, target Setting) func(*testing.T, *Bench) (Setting, Setting) {
		return func(*testing.T, *Bench) (Setting, Setting) { return ref, target }
	}
	plan := func(edit func(b *Bench, p *requests.Plan)) func(*testing.T, *Bench) (Setting, Setting) {
		return func(_ *testing.T, b *Bench) (Setting, Setting) {
			p := b.Plan()
			edit(b, p)
			return Setting{}, Setting{Plan: p, Order: Reversed}
		}
	}
	dtype := func(d tensor.DType) Setting { return Setting{DType: d} }
	return []negative{
		{name: "reversed sums", what: "every matrix product sums from the last k to the first", settings: same(Setting{}, Setting{Order: Reversed})},
		{name: "split-K", what: "two rounded partial sums in every matrix product", settings: same(Setting{}, Setting{Order: SplitK})},
		{name: "split-K as reference", what: "and the other way round", settings: same(Setting{Order: SplitK}, Setting{Order: Reversed})},
		{name: "vllm-2026 rounding", what: "norms and rope with one rounding less", settings: same(Setting{}, Setting{Round: nn.VLLM2026})},
		{name: "device label", what: "cpu against cuda:3", settings: same(Setting{Device: "cpu"}, Setting{Device: "cuda:3"})},
		{name: "float16 against bfloat16", what: "the reference in the finer type", settings: same(dtype(tensor.Float16), Setting{Order: Reversed})},
		{name: "bfloat16 against float16", what: "the target in the finer type", settings: same(Setting{Order: Reversed}, dtype(tensor.Float16))},
		{name: "float32 against bfloat16", what: "the reference without rounding", settings: same(dtype(tensor.Float32), Setting{Order: Reversed})},
		{name: "float32 against split-K", what: "the reference without rounding, the target with the most", settings: same(dtype(tensor.Float32), Setting{Order: SplitK})},
		{name: "float64 against float32", what: "no rounding points at all", settings: same(dtype(tensor.Float64), Setting{DType: tensor.Float32, Order: Reversed})},
		{name: "float32 residual", what: "the target keeps the residual stream in float32, whose sums no norm rounds", settings: same(Setting{}, Setting{Order: both(Reversed, floatResidual)})},
		{name: "float32 residual as reference", what: "and the other way round", settings: same(Setting{Order: floatResidual}, Setting{Order: Reversed})},
		{name: "padded vocabulary", what: "the target's logits have 64 columns more, of -Inf", settings: same(Setting{}, Setting{Order: both(Reversed, paddedLogits)})},
		{name: "near ties", what: "the two best logits lie within a last place, and the order of summation decides", settings: nearTies},
		{name: "tensor parallel", what: "two ranks, partial sums rounded and added", settings: same(Setting{}, Setting{Order: RowParallel}), ranks: true},
		{name: "chunked prefill", what: "the prompt in chunks of 7 tokens", settings: plan(func(b *Bench, p *requests.Plan) { chunked(p, 7) })},
		{name: "decode as prefill", what: "the tokens of decode are part of the prompt", settings: plan(func(b *Bench, p *requests.Plan) {
			c := &p.Steps[0].Chunks[0]
			c.IDs = append(c.IDs, p.Steps[1].Chunks[0].IDs...)
			p.Steps = p.Steps[:1]
		})},
		{name: "padding", what: "five padding rows at the end of every step", settings: plan(func(_ *Bench, p *requests.Plan) { padded(p) })},
		{name: "NaN in padding", what: "attention leaves in padding rows what memory held", settings: func(_ *testing.T, b *Bench) (Setting, Setting) {
			p := b.Plan()
			padded(p)
			return Setting{}, Setting{Plan: p, Order: Reversed, Inject: dirtyPadding}
		}},
		{name: "a batch", what: "with another request behind it", settings: func(_ *testing.T, b *Bench) (Setting, Setting) {
			return Setting{}, Setting{Plan: b.Batch(0, 1), Order: Reversed}
		}},
		{name: "batch order", what: "two requests in the other order", settings: func(_ *testing.T, b *Bench) (Setting, Setting) {
			return Setting{Plan: b.Batch(0, 1)}, Setting{Plan: b.Batch(1, 0), Order: Reversed}
		}},
		{name: "prefix cache", what: "the first 16 tokens of the prompt come from the prefix cache", settings: plan(func(_ *Bench, p *requests.Plan) { cached(p, 0, 16) })},
		{name: "prefix cache as reference", what: "and the other way round", settings: func(_ *testing.T, b *Bench) (Setting, Setting) {
			p := b.Plan()
			cached(p, 0, 16)
			return Setting{Plan: p}, Setting{Order: Reversed}
		}},
		{name: "prefix cache in a batch", what: "of two requests the second hits; the reference runs them in the other order", settings: func(_ *testing.T, b *Bench) (Setting, Setting) {
			p := b.Batch(0, 1)
			cached(p, 1, 16)
			return Setting{Plan: b.Batch(1, 0)}, Setting{Plan: p, Order: Reversed}
		}},
		{name: "speculative decoding", what: "two draft tokens are run and rejected; every row has logits", settings: func(_ *testing.T, b *Bench) (Setting, Setting) {
			p, q := b.Plan(), b.Plan()
			for _, x := range []*requests.Plan{p, q} {
				next := x.Steps[1].Chunks[0]
				next.Start, next.IDs = next.Start+1, []int{b.outputs[0][1]}
				x.Steps = append(x.Steps, requests.Step{Number: 2, Chunks: []requests.Chunk{next}})
			}
			c := &p.Steps[1].Chunks[0]
			c.IDs, c.Drafts, c.Rejected = append(c.IDs, other(b.outputs[0][1]), 5), 2, 2
			return Setting{Plan: q}, Setting{Plan: p, Order: Reversed}
		}},
		{name: "later steps", what: "the target ran seven forwards before", settings: plan(func(b *Bench, p *requests.Plan) {
			for i := range p.Steps {
				p.Steps[i].Number += 7
			}
		})},
	}
}

// chunked cuts the prompt into chunks of n tokens.
func chunked(p *requests.Plan, n int) {
	prompt := p.Steps[0].Chunks[0]
	var steps []requests.Step
	for at := 0; at < len(prompt.IDs); at += n {
		steps = append(steps, requests.Step{Chunks: []requests.Chunk{
			{Start: at, IDs: prompt.IDs[at:min(at+n, len(prompt.IDs))], Sample: true},
		}})
	}
	p.Steps = append(steps, p.Steps[1:]...)
	for i := range p.Steps {
		p.Steps[i].Number = i
	}
}

// cached takes the first n tokens of a request's prompt from a prefix cache.
func cached(p *requests.Plan, request, n int) {
	c := &p.Steps[0].Chunks[request]
	c.Start, c.History, c.IDs = n, c.IDs[:n], c.IDs[n:]
}

// other is a token that is not the given one.
func other(id int) int { return 3 + (id+1)%7 }

// padded adds five padding rows to every step.
func padded(p *requests.Plan) {
	for i := range p.Steps {
		for range 5 {
			p.Steps[i].Chunks = append(p.Steps[i].Chunks, requests.Chunk{Request: -1, IDs: []int{0}})
		}
	}
}

// dirtyPadding writes NaN into what attention returns for padding rows.
func dirtyPadding(r *Run) {
	r.Leaving = append(r.Leaving, func(at Place, out il.Value) {
		t, ok := out.(*tensor.Tensor)
		if !ok || !strings.HasSuffix(at.Module, ".attn") {
			return
		}
		row := 0
		for _, c := range r.Plan.Steps[at.Step].Chunks {
			if row += len(c.IDs); c.Request < 0 {
				edit(t.Narrow(0, row-len(c.IDs), row), func(_ int, v []float64) {
					for i := range v {
						v[i] = math.NaN()
					}
				})
			}
		}
	})
}

// nearTies gives another id almost the row of the head that wins after the
// prompt, until rounding decides between the two.
func nearTies(t *testing.T, b *Bench) (Setting, Setting) {
	win := b.outputs[0][0]
	for try := range 100 {
		size := []float64{1e-3, -1e-3}[try%2] * float64(1+try/2) // of logits: some tenths of a last place
		tie := func(r *Run) {
			each(r.Model, func(l *nn.LogitsProcessor) {
				head := dense(l.Head)
				other := (win + 1) % head.Shape[0]
				head = permuted(head, func(row int) int {
					if row == other {
						return win
					}
					return row
				})
				edit(head.Narrow(0, other, other+1), noise(size))
				l.Head = nn.Dense{Weight: head}
			})
		}
		a, z := Setting{Inject: tie}, Setting{Inject: tie, Order: SplitK}
		x, y := b.Compute(t, a, ref.NoHooks{}), b.Compute(t, z, ref.NoHooks{})
		if x[0].Token != y[0].Token {
			return a, z
		}
	}
	require.Fail(t, "no change makes a tie that rounding decides")
	return Setting{}, Setting{}
}

// sessions runs both sides. right is the target's setting in the engine's own
// arithmetic and the reference's layout.
func (n negative) sessions(t *testing.T, b *Bench) (ref, target *il.Session, right Setting) {
	x, y := n.settings(t, b)
	right = y
	right.Order, right.Plan, right.Device = nil, nil, ""
	if ref = b.Ref; !x.plain() {
		ref = b.Session(t, x)
	}
	if n.ranks {
		return ref, b.ranks(t, y, nil), right
	}
	return ref, b.Session(t, y), right
}

// ranks runs a model as tensor-parallel ranks; leaving is Ranks.Leaving.
func (b *Bench) ranks(t *testing.T, s Setting, leaving func(rank int, module string, out il.Value)) *il.Session {
	cfg, _ := b.logging(t, s)
	hooks, err := NewRanks(cfg, b.Config)
	require.NoError(t, err)
	hooks.Leaving = leaving
	b.Compute(t, s, hooks)
	dir, err := hooks.Close()
	require.NoError(t, err)
	out, err := il.Open(dir)
	require.NoError(t, err)
	return out
}

// parallel runs a model on tensor-parallel ranks.
func (b *Bench) parallel(t *testing.T, s Setting, p *Parallel) *il.Session {
	var runs []*Run
	var hooks []*Rank
	var cfg ref.Config
	log, _ := b.logging(t, s)
	for i := range p.Ranks {
		m, done := b.model(t)
		defer done()
		var r *Run
		r, cfg = b.run(s, m)
		if p.Inject != nil {
			p.Inject(i, r)
		}
		h, err := NewRank(log, b.Config, i, p.Ranks)
		require.NoError(t, err)
		runs, hooks = append(runs, r), append(hooks, h)
	}
	require.NoError(t, p.Compute(runs, cfg, hooks))
	dir, err := closeRanks(hooks)
	require.NoError(t, err)
	out, err := il.Open(dir)
	require.NoError(t, err)
	return out
}
