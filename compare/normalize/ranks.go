package normalize

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// Ranks puts the tensors of tensor-parallel ranks together as vLLM's modules
// spread them. A tensor that every rank must hold alike is that of the first;
// what differs is found when it is opened (Notes.Finding). other is the other
// side, from whose shapes modules without a rule are understood; nil where
// there is none.
//
// Where s holds one device only it is returned as it is.
func Ranks(s, other *il.Session) (*il.Session, Notes) {
	return newRankJoiner(s, other, 0).join()
}

// newRankJoiner is a joiner of a session's ranks, of a model of so many key and
// value heads, 0 for unknown.
func newRankJoiner(s, other *il.Session, kvHeads int) *rankJoiner {
	j := &rankJoiner{session: s, other: other, kvHeads: kvHeads, arch: s.Architecture(), notes: &Notes{ranks: rankNotes{}}}
	j.rep = sync.OnceValues(j.findRep)
	return j
}

// join is Ranks.
func (j *rankJoiner) join() (*il.Session, Notes) {
	s, n := j.session, j.notes
	if !severalRanks(s) {
		return s, *n
	}
	var steps []*il.Step
	for _, st := range s.Steps {
		groups := deviceGroups(st)
		out := &il.Step{Number: st.Number}
		for _, c := range st.Calls {
			slots := make([]*il.Slot, len(c.Slots))
			for i, slot := range c.Slots {
				slots[i] = j.slot(st.Number, c, slot, groups[groupOf(c.Module)])
			}
			out.Calls = append(out.Calls, withSlots(c, slots))
		}
		steps = append(steps, out)
	}
	if j.left > 0 {
		n.Warnings = append(n.Warnings, fmt.Sprintf("%d tensors of modules whose spread over ranks is not known are left as they are, the first of %s", j.left, j.leftFirst))
	}
	return derive(s, steps), *n
}

func severalRanks(s *il.Session) bool {
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			for _, slot := range c.Slots {
				if len(slot.Tensors) > 1 {
					return true
				}
			}
		}
	}
	return false
}

type rankJoiner struct {
	session, other *il.Session
	kvHeads        int         // of the model; 0 is unknown
	lead           *rankJoiner // of the other side, where that is taken to be right; nil for none
	arch           *topology.Architecture
	notes          *Notes
	rep            func() (int, error) // ranks in a row that hold the same keys and values
	left           int
	leftFirst      string
}

// groupOf tells which calls the same ranks run: those of a layer, as a stage
// of a pipeline runs whole layers.
func groupOf(module string) string {
	if m := topology.Of(module); m.Layer >= 0 && m.Kind != topology.Rope {
		return strconv.Itoa(m.Layer)
	}
	return module
}

// deviceGroups lists the devices of every group of a step.
func deviceGroups(st *il.Step) map[string][]string {
	groups := map[string][]string{}
	type member struct{ group, device string }
	seen := map[member]bool{}
	for _, c := range st.Calls {
		g := groupOf(c.Module)
		for _, s := range c.Slots {
			for _, f := range s.Tensors {
				if m := (member{g, f.Device}); !seen[m] {
					seen[m] = true
					groups[g] = append(groups[g], f.Device)
				}
			}
		}
	}
	return groups
}

// slot puts one slot together.
func (j *rankJoiner) slot(step int, c *il.Call, s *il.Slot, group []string) *il.Slot {
	if len(s.Tensors) == 0 || len(group) < 2 {
		return s
	}
	a := &assembly{sharding: j.sharding(c, s), files: s.Tensors, dim: -1}
	if a.sharding == topology.UnknownSharding {
		a.sharding, a.dim = j.infer(step, c, s)
	}
	if a.sharding == topology.UnknownSharding {
		j.left++
		if j.leftFirst == "" {
			j.leftFirst = fmt.Sprintf("step %d, %s", step, c.Module)
		}
		return s
	}
	name := s.Tensors[0].File
	if absent := missing(group, s.Tensors); absent != "" && topology.Of(c.Module).Kind != topology.Logits {
		return withTensor(s, failing(s.Tensors[0].Device, name, fmt.Errorf("%s: rank %s wrote no such file, the ranks %s did", name, absent, devices(s.Tensors))))
	}
	if len(s.Tensors) == 1 {
		return s
	}
	a.parts = func() (q, k, rep int, err error) { return j.widths(step, c, a.sharding) }
	return withTensor(s, j.notes.ranks.add(a))
}

func (j *rankJoiner) sharding(c *il.Call, s *il.Slot) topology.Sharding {
	return j.arch.Of(c.Module).Sharding(s.Direction == il.Outputs, s.Path)
}

// missing lists the devices of a group that files lack.
func missing(group []string, files []*il.TensorFile) string {
	has := map[string]bool{}
	for _, f := range files {
		has[f.Device] = true
	}
	return strings.Join(slices.DeleteFunc(slices.Clone(group), func(d string) bool { return has[d] }), ", ")
}

// infer understands a slot of an unknown module from the other side's shape:
// a dimension of 1/n of the other's is spread over the n ranks. The first
// dimension, which is tokens, is never spread.
func (j *rankJoiner) infer(step int, c *il.Call, s *il.Slot) (topology.Sharding, int) {
	if j.other == nil {
		return topology.UnknownSharding, -1
	}
	other := findAny(j.other, step, c.Module, c.Index, s.Direction, s.Path)
	if other == nil || len(other.Tensors) != 1 {
		return topology.UnknownSharding, -1
	}
	mine, theirs := slotShape(s), slotShape(other)
	if mine == nil || len(mine) != len(theirs) {
		return topology.UnknownSharding, -1
	}
	dim := -1
	for i := 1; i < len(mine); i++ {
		switch {
		case mine[i] == theirs[i]:
		case dim < 0 && mine[i]*len(s.Tensors) == theirs[i]:
			dim = i
		default:
			return topology.UnknownSharding, -1
		}
	}
	if dim < 0 {
		return topology.Replicated, -1
	}
	return topology.Column, dim
}

// widths finds what a sharding needs to know: the widths of a rank's queries and
// keys, and how many ranks share keys.
func (j *rankJoiner) widths(step int, c *il.Call, sharding topology.Sharding) (q, k, rep int, err error) {
	rep = 1
	switch sharding {
	case topology.KVColumn, topology.KVHeadAxis, topology.PackedQKV:
		if rep, err = j.rep(); err != nil {
			return 0, 0, 0, err
		}
	}
	if sharding == topology.PackedQKV {
		q, k, err = j.headWidths(step, c)
	}
	return q, k, rep, err
}

// headWidths finds the widths of a rank's queries and keys, from the layer's
// attention or what else tells them.
func (j *rankJoiner) headWidths(step int, c *il.Call) (q, k int, err error) {
	attn, out := topology.AttentionBeside(c.Module)
	last := func(module string, index int, d il.Direction, path string) int {
		return lastOf(findAny(j.session, step, module, index, d, path))
	}
	packed := last(c.Module, c.Index, il.Outputs, "0")
	q, k = last(attn, c.Index, il.Inputs, "0"), last(attn, c.Index, il.Inputs, "1")
	if q == 0 {
		q = max(last(attn, c.Index, il.Outputs, ""), last(out, c.Index, il.Inputs, "0"))
	}
	if q == 0 { // one rope serves every layer
		for _, s := range j.session.Steps {
			for _, rope := range s.Calls {
				if topology.Of(rope.Module).Kind == topology.Rope && q == 0 {
					q = lastOf(rope.Slot(il.Inputs, "1"))
				}
			}
		}
	}
	if k == 0 && q > 0 && packed > q {
		k = (packed - q) / 2
	}
	if q == 0 || k == 0 {
		return 0, 0, fmt.Errorf("%s: the ranks' packed q, k and v cannot be parted: log %s, or the inputs of %s, to tell their widths", c.Module, attn, out)
	}
	return q, k, nil
}
