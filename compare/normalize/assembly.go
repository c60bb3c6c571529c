package normalize

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// assembly puts the tensors of the ranks together when it is opened. What it
// finds of ranks that must agree is kept from the first time.
type assembly struct {
	sharding topology.Sharding
	files    []*il.TensorFile
	dim      int                               // of an unknown module: what is joined, -1 for the sharding's
	parts    func() (q, k, rep int, err error) // what the sharding needs to know of the model

	mu      sync.Mutex
	checked bool
	finding string     // which ranks do not hold what they must
	err     error      // why that could not be found out
	rep     int        // ranks in a row that hold the same, once it was opened
	columns [][]column // of every copy that was opened
}

// column is a range of the joined dimension, and the rank and device it came
// from.
type column struct {
	lo, hi int
	rank   int
	device string
}

// open puts a copy together: copy k has what several ranks in a row hold from the
// k-th of them.
func (a *assembly) open(copy int) (*tensor.Tensor, io.Closer, error) {
	if a.sharding == topology.Replicated {
		return a.openReplicated(copy)
	}
	if a.sharding == topology.PartialSum {
		return copied(a.files, summed)
	}
	return copied(a.files, func(ts []*tensor.Tensor) (*tensor.Tensor, error) {
		dim := a.dim
		if dim < 0 {
			dim = joinedDim(a.sharding, len(ts[0].Shape))
		}
		var extents []int
		for _, t := range ts {
			if dim < 0 || dim >= len(t.Shape) {
				return nil, fmt.Errorf("%s on a rank, expected at least %d dimensions", t, max(dim+1, 2))
			}
			extents = append(extents, t.Shape[dim])
		}
		q, k, rep, err := a.parts()
		if err != nil {
			return nil, err
		}
		pieces, err := pieces(a.sharding, extents, q, k, rep, copy)
		if err != nil {
			return nil, err
		}
		_ = a.check(func() (string, error) { return duplicates(a.sharding, a.files, ts, q, k, rep), nil })
		a.keep(copy, rep, pieces)
		out, err := join(ts, dim, pieces)
		if err != nil {
			return nil, fmt.Errorf("the ranks %s: %w", devices(a.files), err)
		}
		return out, nil
	})
}

// summed is the sum of the ranks' parts, rounded once as an all-reduce does (vLLM's
// csrc/custom_all_reduce.cuh). Of expert parallelism the parts are those of a rank's own
// experts.
func summed(ts []*tensor.Tensor) (*tensor.Tensor, error) {
	out := tensor.New(ts[0].DType, ts[0].Shape...)
	out.Device = ts[0].Device
	sum, part := make([]float64, out.Numel()), make([]float64, out.Numel())
	for _, t := range ts {
		if t.DType != out.DType || !slices.Equal(t.Shape, out.Shape) {
			return nil, fmt.Errorf("the ranks hold %s and %s, expected parts of one sum", ts[0], t)
		}
		if err := t.Float64s(part, 0); err != nil {
			return nil, err
		}
		for i, x := range part {
			sum[i] += x
		}
	}
	tensor.StoreFloat64(out.Data, out.DType, sum)
	return out, nil
}

// keep remembers which columns of a copy came from which rank.
func (a *assembly) keep(copy, rep int, pieces []piece) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rep = rep
	for len(a.columns) <= copy {
		a.columns = append(a.columns, nil)
	}
	if a.columns[copy] != nil {
		return
	}
	at := 0
	for _, p := range pieces {
		a.columns[copy] = append(a.columns[copy], column{at, at + p.n, p.source, a.files[p.source].Device})
		at += p.n
	}
}

// columnsOf are the columns of a copy, nil where it was not opened.
func (a *assembly) columnsOf(copy int) []column {
	a.mu.Lock()
	defer a.mu.Unlock()
	if copy >= len(a.columns) {
		return nil
	}
	return a.columns[copy]
}

// copies is how many copies the ranks hold. It was opened before.
func (a *assembly) copies() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sharding == topology.Replicated {
		return len(a.files)
	}
	return max(1, a.rep)
}

// openReplicated gives a rank's tensor as it lies in its file, and looks whether
// all ranks hold the same.
func (a *assembly) openReplicated(rank int) (*tensor.Tensor, io.Closer, error) {
	if err := a.check(a.compareRanks); err != nil {
		return nil, nil, err
	}
	return a.files[rank].Open()
}

// check runs f the first time only.
func (a *assembly) check(f func() (string, error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.checked {
		a.checked = true
		a.finding, a.err = f()
	}
	return a.err
}

func (a *assembly) compareRanks() (finding string, err error) {
	ts, cs, err := openAll(a.files)
	if err != nil {
		return "", err
	}
	defer cs.Close()
	err = guarded(a.files, func() error {
		finding = oddRank(a.files, ts)
		return nil
	})
	return finding, err
}

// oddRank names the ranks whose tensor is not that of most, and is empty where
// all agree. Of two that differ the first is taken to be right.
func oddRank(files []*il.TensorFile, ts []*tensor.Tensor) string {
	class := make([]int, len(ts)) // the first rank that holds the same
	votes := make([]int, len(ts))
	for i := range ts {
		class[i] = i
		for j := range i {
			if class[j] == j && tensor.SameBits(ts[i], ts[j]) {
				class[i] = j
				break
			}
		}
		votes[class[i]]++
	}
	right := slices.Index(votes, slices.Max(votes))
	if votes[right] == len(ts) {
		return ""
	}
	var odd []string
	for i := range ts {
		if class[i] != right {
			odd = append(odd, files[i].Device)
		}
	}
	verb, word := "differs", "rank"
	if len(odd) > 1 {
		verb, word = "differ", "ranks"
	}
	return fmt.Sprintf("%s %s %s from %s, although every rank must hold the same here", word, strings.Join(odd, ", "), verb, files[right].Device)
}

// duplicates compares the keys and values that several ranks in a row hold.
func duplicates(sharding topology.Sharding, files []*il.TensorFile, ts []*tensor.Tensor, q, k, rep int) string {
	if rep < 2 || !holdsKeys(sharding) {
		return ""
	}
	var odd []string
	for i := 0; i < len(ts); i += rep {
		group := slices.Clone(ts[i:min(i+rep, len(ts))])
		for j, t := range group {
			group[j] = shared(sharding, t, q, k)
		}
		if why := oddRank(files[i:], group); why != "" {
			odd = append(odd, why)
		}
	}
	return strings.Join(odd, "; ")
}

func devices(files []*il.TensorFile) string {
	var names []string
	for _, f := range files {
		names = append(names, f.Device)
	}
	return strings.Join(names, ", ")
}
