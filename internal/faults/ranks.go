package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Ranks logs a run as two tensor-parallel ranks would: each its own heads and
// columns, under the devices cuda:0 and cuda:1. The key-value heads must be a
// multiple of the ranks.
type Ranks struct {
	ranks [2]*Rank

	// Leaving sees what a rank's module returns before it is logged, and may
	// change it in place; nil for none.
	Leaving func(rank int, module string, out il.Value)
}

// NewRanks makes a logger for each rank, in folders of their own below
// cfg.OutputDir.
func NewRanks(cfg *il.Config, m *model.Config) (*Ranks, error) {
	r := &Ranks{}
	for i := range r.ranks {
		var err error
		if r.ranks[i], err = NewRank(cfg, m, i, len(r.ranks)); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Pre logs each rank's part of the arguments.
func (r *Ranks) Pre(module string, args il.Tuple) il.Tuple {
	for _, x := range r.ranks {
		x.Pre(module, args)
	}
	return args
}

// Post logs each rank's part of the results.
func (r *Ranks) Post(module string, args il.Tuple, out il.Value) {
	for i, x := range r.ranks {
		part := x.part(module, il.Outputs, out)
		if r.Leaving != nil {
			r.Leaving(i, module, part)
		}
		x.logger.Post(module, args, part)
	}
}

// StepDone ends the step of each rank.
func (r *Ranks) StepDone() error {
	return errors.Join(r.ranks[0].StepDone(), r.ranks[1].StepDone())
}

// SkipTo sets the step of each rank.
func (r *Ranks) SkipTo(step int) {
	for _, x := range r.ranks {
		x.SkipTo(step)
	}
}

// Close puts the files of both ranks together, and returns their folder.
func (r *Ranks) Close() (string, error) { return closeRanks(r.ranks[:]) }

// Rank logs what one of n tensor-parallel ranks holds of a run: its own heads and
// columns (vLLM v0.11.0 linear.py). Where there are more ranks than key-value
// heads, several hold the same.
type Rank struct {
	logger  *il.Logger
	cfg     *model.Config
	rank, n int
}

// NewRank makes the logger of a rank, under the device cuda:RANK, in a folder of
// its own below cfg.OutputDir.
func NewRank(cfg *il.Config, m *model.Config, rank, n int) (*Rank, error) {
	l, err := il.NewLogger(cfg, il.LoggerOptions{SessionID: fmt.Sprintf("rank%d", rank), DeviceLabel: fmt.Sprintf("cuda:%d", rank)})
	return &Rank{l, m, rank, n}, err
}

// Pre logs the rank's part of the arguments.
func (r *Rank) Pre(module string, args il.Tuple) il.Tuple {
	r.logger.Pre(module, r.part(module, il.Inputs, args).(il.Tuple))
	return args
}

// Post logs the rank's part of the results.
func (r *Rank) Post(module string, args il.Tuple, out il.Value) {
	r.logger.Post(module, args, r.part(module, il.Outputs, out))
}

// StepDone ends the step.
func (r *Rank) StepDone() error { return r.logger.StepDone() }

// SkipTo sets the step.
func (r *Rank) SkipTo(step int) { r.logger.SkipTo(step) }

// closeRanks puts the files of all ranks into the first one's folder, as one run
// of vLLM does, and returns it.
func closeRanks(ranks []*Rank) (string, error) {
	to := ranks[0].logger.Dir()
	for i, x := range ranks {
		if err := x.logger.Close(); err != nil {
			return "", err
		}
		if i > 0 {
			if err := moveTensors(x.logger.Dir(), to); err != nil {
				return "", err
			}
		}
	}
	return to, nil
}

// moveTensors moves the tensors of a session into another's steps and calls.
func moveTensors(from, to string) error {
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
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

// part is what the rank holds of the arguments or results of a module.
func (r *Rank) part(module string, dir il.Direction, v il.Value) il.Value {
	switch v := v.(type) {
	case il.Tuple:
		out := make(il.Tuple, len(v))
		for i, x := range v {
			out[i] = x
			if t, ok := x.(*tensor.Tensor); ok {
				out[i] = r.shard(module, dir, i, t)
			}
		}
		return out
	case *tensor.Tensor:
		return r.shard(module, dir, 0, v)
	}
	return v
}

// columnRun is a range of columns, or of heads, of a tensor of the whole model, and how
// many parts it is cut into: one for each rank, or fewer, which several ranks hold.
type columnRun struct{ width, parts int }

// shard is the rank's part of argument or result i of a module.
func (r *Rank) shard(module string, dir il.Direction, i int, t *tensor.Tensor) *tensor.Tensor {
	heads := min(r.n, r.cfg.NumKeyValueHeads) // groups of key-value heads
	q, kv := columnRun{r.cfg.NumAttentionHeads * r.cfg.HeadDim, r.n}, columnRun{r.cfg.NumKeyValueHeads * r.cfg.HeadDim, heads}
	wide, last := columnRun{r.cfg.IntermediateSize, r.n}, t.Shape[len(t.Shape)-1]
	switch topology.Of(module).Sharding(dir == il.Outputs, strconv.Itoa(i)) {
	case topology.PackedQKV:
		return r.packed(t, q, kv, kv)
	case topology.MergedColumn:
		return r.packed(t, wide, wide)
	case topology.Column:
		return r.packed(t, columnRun{last, r.n})
	case topology.KVColumn:
		return r.packed(t, columnRun{last, heads})
	case topology.HeadAxis: // (T, n, D), by heads
		lo, hi := r.own(columnRun{t.Shape[1], r.n})
		return t.Narrow(1, lo, hi).Clone()
	case topology.KVHeadAxis:
		lo, hi := r.own(columnRun{t.Shape[1], heads})
		return t.Narrow(1, lo, hi).Clone()
	}
	return t.Clone()
}

// own is the rank's part of a run.
func (r *Rank) own(c columnRun) (lo, hi int) {
	part := r.rank * c.parts / r.n
	return part * c.width / c.parts, (part + 1) * c.width / c.parts
}

// packed is the rank's part of each run of columns, one after another.
func (r *Rank) packed(t *tensor.Tensor, runs ...columnRun) *tensor.Tensor {
	var from []int
	start := 0
	for _, c := range runs {
		lo, hi := r.own(c)
		for x := lo; x < hi; x++ {
			from = append(from, start+x)
		}
		start += c.width
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
