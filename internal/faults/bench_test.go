package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/measure"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/tensor"
)

const (
	layers    = 2 // of every model: the others are left out
	promptLen = 24
	newTokens = 2
)

// Bench is a model to break, and the tokens that all of its runs compute.
type Bench struct {
	Name   string
	Config *model.Config
	Ref    *il.Session // the run without a fault, in bfloat16
	Oracle *il.Session // the same in float64

	dir     string
	edits   []func(*model.CausalLM) // of the checkpoint, before any run
	prompts [][]int                 // the first is every run's; the second joins it in batches
	outputs [][]int
	tb      testing.TB         // that the sessions last for
	others  map[string]Setting // of faults that ask for another run than Ref
	known   measure.Experts    // that routers choose
}

// setting is how a fault's run computes without the fault.
func (b *Bench) setting(f Fault) Setting {
	if !f.Batch && f.DType == tensor.Invalid {
		return Setting{}
	}
	key := fmt.Sprint(f.Batch, f.DType)
	if s, ok := b.others[key]; ok {
		return s
	}
	s := Setting{DType: f.DType}
	if f.Batch {
		s.Plan = Mixed(b.Config.VocabSize)
	}
	exact := s
	exact.DType = tensor.Float64
	s.right = &sessions{b.Session(b.tb, s), b.Session(b.tb, exact)}
	if b.others == nil {
		b.others = map[string]Setting{}
	}
	b.others[key] = s
	return s
}

// Setting is how a run computes beside its fault.
type Setting struct {
	DType  tensor.DType // bfloat16 where it is not given
	Round  nn.Rounding  // vllm-2025 where it is not given
	Device string       // label, "cuda:0" where it is not given
	Order  func(*Run)   // of summation; nil for the engine's
	Inject func(*Run)   // nil for none
	Plan   *requests.Plan

	right *sessions // the runs of this setting without a fault, where they are at hand
}

// sessions are a run without a fault, and the same in float64.
type sessions struct{ ref, oracle *il.Session }

// plain reports whether nothing of a setting is given.
func (s Setting) plain() bool {
	return s.DType == tensor.Invalid && s.Round == "" && s.Device == "" && s.Order == nil && s.Inject == nil && s.Plan == nil
}

// NewBench prepares a model: gopher-1m, or a folder of testdata/architectures.
func NewBench(tb testing.TB, name string, edits ...func(*model.CausalLM)) *Bench {
	b := &Bench{tb: tb, Name: name, dir: filepath.Join(fixture.Architectures(), name), edits: edits}
	if name == "gopher-1m" {
		b.dir = fixture.Checkpoint(name)
	}
	m, done := b.model(tb)
	defer done()
	b.Config = m.Config
	for i := range 2 {
		ids := []int{1}
		for j := 1; j < promptLen-5*i; j++ { // no token twice: a wrong row of the embedding shows once
			ids = append(ids, 3+(j*(7+4*i))%(b.Config.VocabSize-4))
		}
		b.prompts = append(b.prompts, ids)
	}
	b.outputs = b.generate(tb, m)
	b.known = knownExperts(tb, b)
	b.Ref = b.Session(tb, Setting{})
	b.Oracle = b.Session(tb, Setting{DType: tensor.Float64})
	return b
}

// model opens the model with its first layers.
func (b *Bench) model(tb testing.TB) (*model.CausalLM, func()) {
	c, err := model.Open(b.dir)
	require.NoError(tb, err)
	c.Config.NumHiddenLayers = layers
	m, err := model.Build(c, model.Options{})
	require.NoError(tb, err)
	for _, f := range b.edits {
		f(m)
	}
	return m, func() { require.NoError(tb, c.Close()) }
}

// generate continues the prompts greedily.
func (b *Bench) generate(tb testing.TB, m *model.CausalLM) [][]int {
	e, err := ref.NewEngine(m, ref.Config{DType: tensor.BFloat16, Rounding: nn.VLLM2025, Threads: 1})
	require.NoError(tb, err)
	var out [][]int
	for _, p := range b.prompts {
		r := &ref.Request{Prompt: p, MaxTokens: newTokens}
		require.NoError(tb, e.Generate(context.Background(), []*ref.Request{r}, len(p), func(int, int, int, int) {}))
		out = append(out, r.Output)
	}
	return out
}

// Plan is the steps of every run: the prompt, then token by token.
func (b *Bench) Plan() *requests.Plan { return b.Batch(0) }

// Batch is the steps of a batch of prompts in an order.
func (b *Bench) Batch(order ...int) *requests.Plan {
	p := &requests.Plan{Dir: b.Name}
	for n := range newTokens {
		st := requests.Step{Number: n}
		for request, i := range order {
			c := requests.Chunk{Request: request, IDs: slices.Clone(b.prompts[i]), Sample: true}
			if n > 0 {
				c.Start, c.IDs = len(b.prompts[i])+n-1, []int{b.outputs[i][n-1]}
			}
			st.Chunks = append(st.Chunks, c)
		}
		p.Steps = append(p.Steps, st)
	}
	return p
}

// Session runs the model and opens what was logged.
func (b *Bench) Session(tb testing.TB, s Setting) *il.Session {
	cfg, opts := b.logging(tb, s)
	logger, err := il.NewLogger(cfg, opts)
	require.NoError(tb, err)
	b.Compute(tb, s, logger)
	require.NoError(tb, logger.Close())
	out, err := il.Open(logger.Dir())
	require.NoError(tb, err)
	return out
}

func (b *Bench) logging(tb testing.TB, s Setting) (*il.Config, il.LoggerOptions) {
	dir, err := os.MkdirTemp(tb.TempDir(), "")
	require.NoError(tb, err)
	cfg := il.DefaultConfig()
	cfg.OutputDir, cfg.LogStepIDs = dir, nil
	if s.Device == "" {
		s.Device = "cuda:0"
	}
	return cfg, il.LoggerOptions{SessionID: "session", DeviceLabel: s.Device}
}

// Compute runs the model with hooks and returns its greedy choices.
func (b *Bench) Compute(tb testing.TB, s Setting, hooks ref.Hooks) []ref.SampledToken {
	m, done := b.model(tb)
	defer done()
	r, cfg := b.run(s, m)
	choices, err := r.Compute(cfg, hooks)
	require.NoError(tb, err)
	return choices
}

// run is a run of a setting.
func (b *Bench) run(s Setting, m *model.CausalLM) (*Run, ref.Config) {
	r := &Run{Model: m, Plan: s.Plan}
	if r.Plan == nil {
		r.Plan = b.Plan()
	}
	for _, f := range []func(*Run){s.Order, s.Inject} {
		if f != nil {
			f(r)
		}
	}
	cfg := ref.Config{DType: tensor.BFloat16, Rounding: nn.VLLM2025, Threads: 1}
	if s.DType != tensor.Invalid {
		cfg.DType = s.DType
	}
	if s.Round != "" {
		cfg.Rounding = s.Round
	}
	return r, cfg
}

// knownExperts are the experts that the model's routers choose.
func knownExperts(tb testing.TB, b *Bench) (out measure.Experts) {
	m, done := b.model(tb)
	tb.Cleanup(done)
	e, err := ref.NewEngine(m, ref.Config{DType: tensor.BFloat16})
	require.NoError(tb, err)
	plain, err := ref.NewEngine(m, ref.Config{DType: tensor.Float32})
	require.NoError(tb, err)
	if choice := e.Choices(); choice != nil {
		out = measure.NewExperts(choice, plain.Choices(), e.ChoicesWithout(), e.OtherWeights())
	}
	each(m, func(x *nn.Experts) { out.PerToken, out.Biased = x.Routing.TopK(), !nn.ByScores(x.Routing) })
	return out
}

// experts are those that are known in a mode: two sessions say how many a token has, and
// who has the model knows which.
func (b *Bench) experts(m mode) measure.Experts {
	out := b.known
	if m.name == modes[0].name {
		out.Of, out.Exact, out.Without, out.Weighed = nil, nil, nil, nil
	}
	return out
}
