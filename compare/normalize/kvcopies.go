package normalize

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Where there are more ranks than key and value heads, each head lies on several
// ranks in a row (vLLM v0.11.0, linear.py, QKVParallelLinear.num_kv_head_replicas).

// findRep finds how many ranks in a row hold the same keys and values. The
// model's number of heads tells it; else the other side's width, where that has
// one rank, or is known to be right; else equal bits, which a faulty copy does
// not have: so the target's own are the last that is asked.
func (j *rankJoiner) findRep() (int, error) {
	best, told := 1, false
	for _, st := range j.session.Steps {
		for _, c := range st.Calls {
			for _, s := range c.Slots {
				if len(s.Tensors) < 2 || !holdsKeys(j.sharding(c, s)) {
					continue
				}
				if j.kvHeads > 0 {
					return replicas(len(s.Tensors), j.kvHeads), nil
				}
				rep, err := j.repByWidth(st.Number, c, s)
				if rep > 0 || err != nil {
					return rep, err
				}
				if rep, err = j.equalRun(st.Number, c, s); err != nil {
					return 0, err
				}
				best, told = max(best, rep), true // heads that differ are never equal to the bit, a faulty copy may be unequal
			}
		}
		if told {
			break
		}
	}
	return best, nil
}

// replicas is how many ranks hold each of so many heads.
func replicas(ranks, heads int) int {
	if ranks <= heads || ranks%heads != 0 {
		return 1
	}
	return ranks / heads
}

// holdsKeys reports whether a tensor of a sharding has keys or values in it.
func holdsKeys(s topology.Sharding) bool {
	return s == topology.KVColumn || s == topology.KVHeadAxis || s == topology.PackedQKV
}

// repByWidth is the factor by which all ranks together hold more keys than the
// model has, by the other side, 0 where that tells nothing.
func (j *rankJoiner) repByWidth(step int, c *il.Call, s *il.Slot) (int, error) {
	if j.other == nil {
		return 0, nil
	}
	o, copies := j.lead, 1
	if o == nil {
		o = newRankJoiner(j.other, nil, 0)
	}
	theirs := findAny(j.other, step, c.Module, c.Index, s.Direction, s.Path)
	switch {
	case theirs == nil || len(theirs.Tensors) == 0:
		return 0, nil
	case len(theirs.Tensors) > 1 && j.lead == nil:
		return 0, nil
	case len(theirs.Tensors) > 1:
		var err error
		if copies, err = o.rep(); err != nil {
			return 0, err
		}
	}
	mine, whole := j.keysOf(step, c, s)*len(s.Tensors)*copies, o.keysOf(step, c, theirs)*len(theirs.Tensors)
	if whole == 0 || mine == 0 || mine%whole != 0 || len(s.Tensors)%(mine/whole) != 0 {
		return 0, nil
	}
	return mine / whole, nil
}

// keysOf is how many columns, or heads, of keys a rank's tensor of a slot has,
// 0 where that is not known.
func (j *rankJoiner) keysOf(step int, c *il.Call, s *il.Slot) int {
	switch sharding := j.sharding(c, s); sharding {
	case topology.PackedQKV:
		_, k, _ := j.headWidths(step, c)
		return k
	case topology.KVHeadAxis:
		if shape := slotShape(s); len(shape) > 1 {
			return shape[joinedDim(sharding, len(shape))]
		}
		return 0
	}
	return lastOf(s)
}

// equalRun counts the first ranks that hold the same keys, where all ranks come
// in runs of that length.
func (j *rankJoiner) equalRun(step int, c *il.Call, s *il.Slot) (run int, err error) {
	sharding, q, k := j.sharding(c, s), 0, 0
	if sharding == topology.PackedQKV {
		if q, k, err = j.headWidths(step, c); err != nil {
			return 1, nil // it cannot be put together, which is said where it is opened
		}
	}
	ts, cs, err := openAll(s.Tensors)
	if err != nil {
		return 0, err
	}
	defer cs.Close()
	err = guarded(s.Tensors, func() error {
		for i, t := range ts {
			ts[i] = shared(sharding, t, q, k)
		}
		for run = 1; run < len(ts) && tensor.SameBits(ts[0], ts[run]); {
			run++
		}
		return nil
	})
	if len(ts)%run != 0 {
		run = 1
	}
	return run, err
}

// shared is the part of a rank's tensor that other ranks may hold too: its keys
// and values. q and k are the widths of its queries and keys.
func shared(sharding topology.Sharding, t *tensor.Tensor, q, k int) *tensor.Tensor {
	if last := len(t.Shape) - 1; sharding == topology.PackedQKV && last >= 0 && q+2*k <= t.Shape[last] {
		return t.Narrow(last, q, q+2*k)
	}
	return t
}
