package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/internal/faults"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/gopher1m"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// trial is one workload in one arithmetic, run without a fault and with one.
type trial struct {
	rng    *rand.Rand
	name   string // of the checkpoint, "" for the bundled one
	edit   func(*model.CausalLM)
	dtype  tensor.DType
	order  func(*faults.Run)
	target nn.Rounding
	rows   int
	in     string // what the names of the modules end in that faults are put into
}

// result is what a trial found.
type result struct {
	alarms map[string]string // by mode that called the difference a fault: why
	fault  fault
	size   float64         // of the fault, in units of noise: the rms of z in its place; NaN where there is no z
	found  map[string]bool // by mode: named at its module

	// Of the run without a fault, by replay: how unlikely its least likely block and
	// its least likely sum are, and what they may be.
	block, drift, limit float64
	at                  string
}

// newTrial draws the choices of trial i.
func newTrial(seed uint64, i, rows int, in string, checkpoints []string) *trial {
	t := &trial{rng: rand.New(rand.NewPCG(seed, uint64(i))), dtype: tensor.BFloat16, target: nn.VLLM2025, rows: rows, in: in}
	if n := t.rng.IntN(len(checkpoints) + 1); n > 0 {
		t.name = checkpoints[n-1]
	}
	t.edit = []func(*model.CausalLM){func(*model.CausalLM) {}, faults.Outliers}[t.rng.IntN(2)]
	switch t.rng.IntN(5) {
	case 0:
		t.dtype = tensor.Float16
	case 1:
		t.dtype = tensor.Float32
	}
	t.order = []func(*faults.Run){faults.Reversed, faults.SplitK, faults.RowParallel}[t.rng.IntN(3)]
	if t.rng.IntN(4) == 0 {
		t.target = nn.VLLM2026
	}
	return t
}

func (t *trial) run() (out result, err error) {
	dir, err := os.MkdirTemp("", "search-")
	if err != nil {
		return out, err
	}
	defer os.RemoveAll(dir)
	ckpt, err := t.open()
	if err != nil {
		return out, err
	}
	defer ckpt.Close()
	plan, err := t.plan(ckpt)
	if err != nil {
		return out, err
	}
	reference, err := t.session(ckpt, plan, dir, nn.VLLM2025, nil)
	if err != nil {
		return out, err
	}
	good, err := t.session(ckpt, plan, dir, t.target, t.order)
	if err != nil {
		return out, err
	}
	out.alarms = map[string]string{}
	for mode, r := range map[string]func() (*report.Report, *il.Session, error){
		"two":    func() (*report.Report, *il.Session, error) { return judged(reference, good, nil) },
		"replay": func() (*report.Report, *il.Session, error) { return t.replayed(ckpt, reference, good, dir) },
	} {
		rep, _, err := r()
		if err != nil {
			return out, err
		}
		out.measure(rep)
		if rep.Verdict != report.Pass {
			out.alarms[mode] = fmt.Sprintf("%v %v %s %v: %s %s", t.dtype, t.target, t.name, rep.Verdict, rep.FirstDivergence.Location(), rep.FirstDivergence.Why)
		}
	}
	out.fault = newFault(t.rng, good, t.in)
	bad, err := t.session(ckpt, plan, dir, t.target, func(r *faults.Run) {
		t.order(r)
		out.fault.inject(r)
	})
	if err != nil {
		return out, err
	}
	out.found = map[string]bool{}
	rep, _, err := judged(reference, bad, nil)
	if err != nil {
		return out, err
	}
	out.found["two"] = out.fault.named(rep)
	rep, replay, err := t.replayed(ckpt, reference, bad, dir)
	if err != nil {
		return out, err
	}
	out.found["replay"] = out.fault.named(rep)
	out.size, err = out.fault.size(replay)
	return out, err
}

// measure keeps how near rounding alone comes to being called a fault.
func (out *result) measure(r *report.Report) {
	tests := 0.
	for _, t := range r.Tensors {
		if n := t.Noise; n != nil {
			tests += metric.Tests(n.Values)
			if n.Worst.Unlikely > out.block {
				out.block, out.at = n.Worst.Unlikely, fmt.Sprintf("%s %+v", t.Key, n.Worst)
			}
			if k := topology.Of(t.Module).Kind; k.IsNorm() || k.IsLinear() || k == topology.Activation {
				out.drift = max(out.drift, n.Drift.Unlikely())
			}
		}
	}
	out.limit = max(out.limit, math.Log(max(tests, 1)/1e-3))
}

// open opens the checkpoint, of which one to three layers are run.
func (t *trial) open() (c *model.Checkpoint, err error) {
	if t.name == "" {
		c, err = model.OpenFS(gopher1m.Name, gopher1m.FS())
	} else {
		c, err = model.Open(t.name)
	}
	if err == nil {
		c.Config.NumHiddenLayers = min(c.Config.NumHiddenLayers, 1+t.rng.IntN(3))
	}
	return c, err
}

// model builds the model anew, for an order of summation may change its weights.
func (t *trial) model(ckpt *model.Checkpoint) (*model.CausalLM, error) {
	m, err := model.Build(ckpt, model.Options{})
	if err == nil {
		t.edit(m)
	}
	return m, err
}

// plan draws one to four requests: their prompts, of 1 to the most rows on a
// logarithmic scale, and a token or two by decoding.
func (t *trial) plan(ckpt *model.Checkpoint) (*requests.Plan, error) {
	vocab, most := ckpt.Config.VocabSize, min(t.rows, ckpt.Config.MaxPositionEmbeddings-4)
	n, decode := 1+t.rng.IntN(4), 1+t.rng.IntN(2)
	p := &requests.Plan{Dir: "search", Steps: make([]requests.Step, 1+decode)}
	for request := range n {
		ids := make([]int, max(1, int(math.Exp(t.rng.Float64()*math.Log(float64(most)/float64(n))))))
		for i := range ids {
			ids[i] = 3 + t.rng.IntN(vocab-3)
		}
		ids[0] = 1 // the token that models with outliers have them at
		for s := range p.Steps {
			p.Steps[s].Number = s
			c := requests.Chunk{Request: request, IDs: ids, Sample: true}
			if s > 0 {
				c.Start, c.IDs = len(ids)+s-1, []int{3 + t.rng.IntN(vocab-3)}
			}
			p.Steps[s].Chunks = append(p.Steps[s].Chunks, c)
		}
	}
	return p, nil
}

// session runs the plan and logs it.
func (t *trial) session(ckpt *model.Checkpoint, plan *requests.Plan, dir string, rounding nn.Rounding, change func(*faults.Run)) (*il.Session, error) {
	m, err := t.model(ckpt)
	if err != nil {
		return nil, err
	}
	r := &faults.Run{Model: m, Plan: plan}
	if change != nil {
		change(r)
	}
	logger, err := newLogger(dir)
	if err != nil {
		return nil, err
	}
	_, err = r.Compute(ref.Config{DType: t.dtype, Rounding: rounding, Threads: 1}, logger)
	return closed(logger, err)
}

// replayed judges a target by its replay, which it returns too.
func (t *trial) replayed(ckpt *model.Checkpoint, reference, target *il.Session, dir string) (*report.Report, *il.Session, error) {
	m, err := t.model(ckpt)
	if err != nil {
		return nil, nil, err
	}
	e, err := ref.NewEngine(m, ref.Config{DType: t.dtype, Rounding: nn.VLLM2025, Threads: 1})
	if err != nil {
		return nil, nil, err
	}
	logger, err := newLogger(dir)
	if err != nil {
		return nil, nil, err
	}
	_, err = e.Replay(context.Background(), target, nil, logger, func(int, int, int, int) {})
	replay, err := closed(logger, err)
	if err != nil {
		return nil, nil, err
	}
	return judged(reference, target, replay)
}

func judged(reference, target, replay *il.Session) (*report.Report, *il.Session, error) {
	r, err := compare.Sessions(reference, target, compare.Options{Evidence: compare.Evidence{Replay: replay}})
	return r, replay, err
}

func newLogger(dir string) (*il.Logger, error) {
	cfg := il.DefaultConfig()
	cfg.OutputDir, cfg.LogStepIDs = dir, nil
	return il.NewLogger(cfg, il.LoggerOptions{DeviceLabel: "cuda:0"})
}

func closed(l *il.Logger, err error) (*il.Session, error) {
	if err = l.Finish(err); err != nil {
		return nil, err
	}
	return il.Open(l.Dir())
}
