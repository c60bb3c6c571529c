// Package ref runs a model as vLLM's V1 engine does: requests become steps,
// each step is one forward pass over the rows of its requests, and the logits
// of a step are computed after the step's end.
package ref

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// Hooks are the module hooks of a run and what the root module's forward hook
// does.
type Hooks interface {
	nn.Hooks
	// StepDone ends a step and returns the first error of the hooks so far.
	StepDone() error
	// SkipTo sets the number of the next step.
	SkipTo(step int)
}

// NoHooks logs nothing.
type NoHooks struct{ nn.NoHooks }

// StepDone does nothing.
func (NoHooks) StepDone() error { return nil }

// SkipTo does nothing.
func (NoHooks) SkipTo(int) {}

// Config says how an Engine runs. Its zero value runs as vLLM does by default:
// in the model's own type.
type Config struct {
	DType       tensor.DType // Invalid = the checkpoint's, float32 where its config does not say
	Rounding    nn.Rounding  // "" = nn.VLLM2025
	Threads     int          // 0 = one for each processor that Go uses
	MaxModelLen int          // positions a request may use; 0 = the model's max_position_embeddings
}

// withDefaults fills in what the zero value leaves open.
func (c Config) withDefaults(m *model.Config) Config {
	if c.DType == tensor.Invalid {
		c.DType = m.DType
	}
	if c.DType == tensor.Invalid {
		c.DType = tensor.Float32
	}
	if c.Rounding == "" {
		c.Rounding = nn.VLLM2025
	}
	if c.Threads == 0 {
		c.Threads = runtime.GOMAXPROCS(0)
	}
	return c
}

// Engine computes steps of a model.
type Engine struct {
	Model *model.CausalLM
	Hooks Hooks

	numerics nn.Numerics
	rounding nn.Rounding
	compute  nn.Computation // nil = a module's own Forward
	maxLen   int
	forwards int // so far
}

// NewEngine prepares a model to run.
func NewEngine(m *model.CausalLM, cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults(m.Config)
	if cfg.DType == tensor.Float16 && m.NoFloat16 != "" {
		return nil, fmt.Errorf("%s: cannot run %s in float16: %s; expected bfloat16, float32 or float64", m.Config.File, m.Config.Architectures[0], m.NoFloat16)
	}
	numerics, err := nn.NewNumerics(cfg.DType, cfg.Rounding, cfg.Threads)
	if err != nil {
		return nil, err
	}
	limit := m.Config.MaxPositionEmbeddings
	if cfg.MaxModelLen < 0 {
		return nil, fmt.Errorf("max-model-len %d: expected 1 or more, or 0 for the model's %d positions", cfg.MaxModelLen, limit)
	}
	if cfg.MaxModelLen > limit {
		return nil, fmt.Errorf("max-model-len %d: the model has %d positions (max_position_embeddings)", cfg.MaxModelLen, limit)
	}
	if cfg.MaxModelLen > 0 {
		limit = cfg.MaxModelLen
	}
	return &Engine{Model: m, Hooks: NoHooks{}, numerics: numerics, rounding: cfg.Rounding, maxLen: limit}, nil
}

// chunk is the rows of one request in a step.
type chunk struct {
	request int // its number; -1 for padding
	seq     *sequence
	ids     []int
	sample  bool // the last row's logits are wanted
	drafts  int  // and those of so many rows before it
}

// sequence is a request's cache and the number of tokens it holds.
type sequence struct {
	cache *nn.Cache
	len   int
}

// truncate forgets the tokens from n on: draft tokens that were rejected.
func (s *sequence) truncate(n int) {
	if n < s.len {
		s.cache.Truncate(n)
		s.len = n
	}
}

func (e *Engine) newSequence() *sequence {
	return &sequence{cache: nn.NewCache()}
}

// step runs one forward pass over the chunks, ends the step, and returns the
// logits (N, V) of the rows that sample, nil where none does.
func (e *Engine) step(chunks []chunk, end func() error) (*tensor.Tensor, error) {
	e.tellBatch(chunks)
	hidden := e.forward(e.Hooks, chunks)
	if err := end(); err != nil {
		return nil, err
	}
	return e.logits(hidden), nil
}

// rootDone is the end of the root's forward: its hook ends the step. Where that never
// fires, forwards and logits follow one another in one step (il splits them when it reads
// the session), and only failures of the hooks are asked for.
func (e *Engine) rootDone() error {
	if !e.Model.RootBypassed {
		return e.Hooks.StepDone()
	}
	if h, ok := e.Hooks.(interface{ Err() error }); ok {
		return h.Err()
	}
	return nil
}

// forward computes the rows of the chunks and returns the hidden states (N, H)
// of the rows that sample, nil where none does.
func (e *Engine) forward(hooks nn.Hooks, chunks []chunk) *tensor.Tensor {
	var ids, positions, last []int
	s := &nn.Step{Numerics: e.numerics, Hooks: hooks, Compute: e.compute}
	for _, c := range chunks {
		for i, id := range c.ids {
			ids, positions = append(ids, id), append(positions, c.seq.len+i)
		}
		s.Spans = append(s.Spans, nn.Span{Lo: len(ids) - len(c.ids), Hi: len(ids), Cache: c.seq.cache})
		c.seq.len += len(c.ids)
		for i := c.drafts; c.sample && i >= 0; i-- {
			last = append(last, len(ids)-1-i)
		}
	}
	hidden := e.Model.Forward(s, tensor.FromInts(tensor.Int32, ids, len(ids)), tensor.FromInts(tensor.Int64, positions, len(ids)))
	if len(last) == 0 {
		return nil
	}
	h := hidden.Shape[1]
	rows := tensor.New(hidden.DType, len(last), h)
	width := h * hidden.DType.Size()
	for i, r := range last {
		hidden.Gather(rows.Data[i*width:(i+1)*width], r*h)
	}
	return rows
}

// logits computes the logits (N, V) of hidden states (N, H).
func (e *Engine) logits(hidden *tensor.Tensor) *tensor.Tensor {
	if hidden == nil {
		return nil
	}
	return e.Model.Logits(&nn.Step{Numerics: e.numerics, Hooks: e.Hooks, Compute: e.compute}, hidden)
}

// CheckTokens reports the first id that the vocabulary does not have, and a
// request that is empty or needs more positions than the model has.
func (e *Engine) CheckTokens(ids []int, newTokens int) error {
	if len(ids) == 0 {
		return errors.New("the prompt is empty: expected at least one token")
	}
	for i, id := range ids {
		if id < 0 || id >= e.Model.Config.VocabSize {
			return fmt.Errorf("token %d is id %d, outside the vocabulary: expected 0 to %d", i, id, e.Model.Config.VocabSize-1)
		}
	}
	if n := len(ids) + newTokens; n > e.maxLen {
		return fmt.Errorf("%d prompt tokens and %d new ones are %d positions, but the model has %d: shorten the prompt or lower --max-tokens",
			len(ids), newTokens, n, e.maxLen)
	}
	return nil
}

// DType is the type that the engine computes in.
func (e *Engine) DType() tensor.DType { return e.numerics.DType() }

// Intercept computes modules by what wraps their computation. The fault suite
// injects its faults here.
func (e *Engine) Intercept(wrap func(nn.Computation) nn.Computation) {
	inner := e.compute
	if inner == nil {
		inner = func(s *nn.Step, m nn.Module, in il.Tuple) il.Value { return m.Forward(s, in) }
	}
	e.compute = wrap(inner)
}
