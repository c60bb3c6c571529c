package faults

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// ranks is the number of tensor-parallel ranks that Ranks logs.
const ranks = 2

// Ranks logs a run as two tensor-parallel ranks would: each its own heads and
// columns (vLLM v0.11.0 linear.py), under the devices cuda:0 and cuda:1. The
// key-value heads must be a multiple of the ranks.
type Ranks struct {
	loggers [ranks]*il.Logger
	cfg     *model.Config

	// Leaving sees what a rank's module returns before it is logged, and may
	// change it in place; nil for none.
	Leaving func(rank int, module string, out il.Value)
}

// NewRanks makes a logger for each rank, in folders of their own below
// cfg.OutputDir.
func NewRanks(cfg *il.Config, m *model.Config) (*Ranks, error) {
	r := &Ranks{cfg: m}
	for i := range ranks {
		var err error
		opts := il.LoggerOptions{SessionID: []string{"session", "rank1"}[i], DeviceLabel: []string{"cuda:0", "cuda:1"}[i]}
		if r.loggers[i], err = il.NewLogger(cfg, opts); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Pre logs each rank's part of the arguments.
func (r *Ranks) Pre(module string, args il.Tuple) il.Tuple {
	for i, l := range r.loggers {
		l.Pre(module, r.part(i, module, il.Inputs, args).(il.Tuple))
	}
	return args
}

// Post logs each rank's part of the results.
func (r *Ranks) Post(module string, args il.Tuple, out il.Value) {
	for i, l := range r.loggers {
		part := r.part(i, module, il.Outputs, out)
		if r.Leaving != nil {
			r.Leaving(i, module, part)
		}
		l.Post(module, args, part)
	}
}

// StepDone ends the step of each rank.
func (r *Ranks) StepDone() error {
	return errors.Join(r.loggers[0].StepDone(), r.loggers[1].StepDone())
}

// SkipTo sets the step of each rank.
func (r *Ranks) SkipTo(step int) {
	for _, l := range r.loggers {
		l.SkipTo(step)
	}
}

// Close puts the files of all ranks into the first one's folder, as one run of
// vLLM does, and returns it.
func (r *Ranks) Close() (string, error) {
	to := r.loggers[0].Dir()
	for _, l := range r.loggers {
		if err := l.Close(); err != nil {
			return "", err
		}
	}
	from := r.loggers[1].Dir()
	return to, filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".pt" {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return os.Rename(path, filepath.Join(to, rel))
	})
}

// part is what a rank holds of the arguments or results of a module.
func (r *Ranks) part(rank int, module string, dir il.Direction, v il.Value) il.Value {
	switch v := v.(type) {
	case il.Tuple:
		out := make(il.Tuple, len(v))
		for i, x := range v {
			out[i] = x
			if t, ok := x.(*tensor.Tensor); ok {
				out[i] = r.shard(rank, module, dir, i, t)
			}
		}
		return out
	case *tensor.Tensor:
		return r.shard(rank, module, dir, 0, v)
	}
	return v
}

// shard is a rank's part of argument or result i of a module.
func (r *Ranks) shard(rank int, module string, dir il.Direction, i int, t *tensor.Tensor) *tensor.Tensor {
	q, kv := r.cfg.NumAttentionHeads*r.cfg.HeadDim, r.cfg.NumKeyValueHeads*r.cfg.HeadDim
	wide := r.cfg.IntermediateSize
	switch topology.Of(module).Sharding(dir == il.Outputs, strconv.Itoa(i)) {
	case topology.PackedQKV:
		return packed(t, rank, q, kv, kv)
	case topology.MergedColumn:
		return packed(t, rank, wide, wide)
	case topology.Column, topology.KVColumn:
		return packed(t, rank, t.Shape[len(t.Shape)-1])
	case topology.HeadAxis, topology.KVHeadAxis: // (T, n, D), by heads
		n := t.Shape[1] / ranks
		return t.Narrow(1, rank*n, (rank+1)*n).Clone()
	}
	return t.Clone()
}

// packed is the rank's part of each run of columns, one after another.
func packed(t *tensor.Tensor, rank int, widths ...int) *tensor.Tensor {
	var from []int
	start := 0
	for _, w := range widths {
		for c := range w / ranks {
			from = append(from, start+rank*w/ranks+c)
		}
		start += w
	}
	whole := make([]float64, t.Shape[1])
	out := tensor.New(t.DType, t.Shape[0], len(from))
	edit(out, func(row int, v []float64) {
		load(whole, t, row)
		for i, c := range from {
			v[i] = whole[c]
		}
	})
	return out
}
