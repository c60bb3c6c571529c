package ref

import (
	"runtime"
	"strconv"

	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/tensor"
)

// EngineName is the engine of a session that an Engine has made, in its provenance.
const EngineName = "ilref"

// batchHooks are Hooks that are told of the requests of every forward, before it runs.
type batchHooks interface{ Batch(provenance.Batch) }

// tellBatch tells the hooks of the requests of a forward.
func (e *Engine) tellBatch(chunks []chunk) {
	e.forwards++
	hooks, ok := e.Hooks.(batchHooks)
	if !ok {
		return
	}
	b := provenance.Batch{Forward: e.forwards - 1}
	for _, c := range chunks {
		b.PaddedTokens += len(c.ids)
		if c.request < 0 {
			continue
		}
		b.ReqIDs = append(b.ReqIDs, strconv.Itoa(c.request))
		b.NumTokens = append(b.NumTokens, len(c.ids))
		b.NumComputed = append(b.NumComputed, c.seq.len)
	}
	b.Kind = provenance.KindOf(b.NumTokens, b.NumComputed)
	hooks.Batch(b)
}

// Provenance says how the engine's sessions are made: of the checkpoint that its model
// was built from, by a program of a version.
func (e *Engine) Provenance(ckpt *model.Checkpoint, version string) (*provenance.Record, error) {
	cfg, lag, eager := ckpt.Config, 1, true
	if e.Model.RootBypassed { // no step ends between a forward and its logits
		lag = 0
	}
	r := &provenance.Record{
		Writer: provenance.Writer{Name: EngineName, Version: version},
		Run:    provenance.Run{LogitsLag: &lag, Kwargs: new(bool), Views: "compact"},
		Engine: provenance.Engine{Name: EngineName, Version: version},
		Model: provenance.Model{
			ID: ckpt.BaseName(), Architecture: cfg.Architectures[0], DType: e.DType().String(), KVCacheDType: "auto",
			Layers: cfg.NumHiddenLayers, Hidden: cfg.HiddenSize, Vocab: cfg.VocabSize,
			Rope: provenance.Rope{Type: cfg.Rope.Type, Theta: cfg.Rope.Theta, TableDType: e.DType().String()},
		},
		Parallel:  provenance.Parallel{TP: 1, PP: 1, DP: 1},
		Execution: provenance.Execution{Eager: &eager, PrefixCaching: new(bool)},
		Numerics:  provenance.Numerics{Float32MatmulPrecision: "highest"},
		Versions:  map[string]string{"go": runtime.Version()},
	}
	if e.DType().Size() == 2 {
		r.Engine.Rounding = string(e.rounding)
	}
	r.Model.ExpertsPerToken, r.Model.ExpertChoice = expertsOf(e.Model)
	var err error
	if r.Model.ConfigSHA256, err = ckpt.ConfigDigest(); err != nil {
		return nil, err
	}
	r.Weights, err = Weights(ckpt, e.DType())
	return r, err
}

// Weights are the parameters of a checkpoint that a session names, as an engine computes
// with them in a type.
func Weights(ckpt *model.Checkpoint, dtype tensor.DType) ([]provenance.Weight, error) {
	var out []provenance.Weight
	weights, err := ckpt.Fingerprints(dtype)
	for _, w := range weights {
		out = append(out, provenance.Weight{Name: w.Name, Shape: w.Shape, DType: w.DType.String(), SHA256: w.SHA256})
	}
	return out, err
}
