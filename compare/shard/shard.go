// Package shard cuts the module calls of sessions into parts that machines
// which know nothing of each other work on: the same parts in every process
// that sees the same sessions.
package shard

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ilref/ilref/il"
)

// Max is the most parts there may be.
const Max = 1 << 16

// Part is one of Count parts, counted from 1 as test runners do.
type Part struct {
	Index int `json:"index"`
	Count int `json:"count"`
}

// Parse reads "i/n".
func Parse(s string) (Part, error) {
	a, b, _ := strings.Cut(s, "/")
	i, err1 := strconv.ParseUint(a, 10, 31)
	n, err2 := strconv.ParseUint(b, 10, 31)
	p := Part{int(i), int(n)}
	if err1 != nil || err2 != nil || !p.Valid() {
		return Part{}, fmt.Errorf("%q: want i/n with i from 1 to n, as in 2/7, and n at most %d", s, Max)
	}
	return p, nil
}

// Valid reports whether there is such a part.
func (p Part) Valid() bool { return 1 <= p.Index && p.Index <= p.Count && p.Count <= Max }

// String is "part 2 of 7".
func (p Part) String() string { return fmt.Sprintf("part %d of %d", p.Index, p.Count) }

// Unit is what goes to one part as a whole: the k-th call of a module in every
// step. Attention has the keys of its earlier steps with it, and the one
// rotary embedding of all layers is still cut by layer.
type Unit struct {
	Module string
	Call   int
}

// Units tells which units are a part's.
type Units struct {
	part Part
	of   map[Unit]int // the part of each, from 1
}

// Own reports whether a unit is the part's.
func (u *Units) Own(module string, call int) bool { return u.of[Unit{module, call}] == u.part.Index }

// Assign deals the units of sessions: those of the first, then what only later
// ones have. The largest comes first and goes to the part that has least, by
// the bytes of the first rank's files; of equals the name decides. What is
// dealt of the first session does not depend on the others, so that a part of
// its replay holds what the same part of a comparison asks for.
func Assign(p Part, sessions ...*il.Session) *Units {
	u := &Units{part: p, of: map[Unit]int{}}
	loads := make([]int64, p.Count)
	for _, s := range sessions {
		weights := weigh(s)
		units := slices.SortedFunc(maps.Keys(weights), func(a, b Unit) int {
			return cmp.Or(cmp.Compare(weights[b], weights[a]), cmp.Compare(a.Module, b.Module), cmp.Compare(a.Call, b.Call))
		})
		for _, x := range units {
			if u.of[x] != 0 {
				continue
			}
			least := 0
			for i, l := range loads {
				if l < loads[least] {
					least = i
				}
			}
			u.of[x] = least + 1
			loads[least] += weights[x]
		}
	}
	return u
}

// weigh sums the file sizes of every unit. A call weighs something even
// without files.
func weigh(s *il.Session) map[Unit]int64 {
	var files []*il.TensorFile
	var of []Unit
	out := map[Unit]int64{}
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			x := Unit{c.Module, c.Index}
			out[x]++
			for _, slot := range c.Slots {
				if len(slot.Tensors) > 0 {
					files, of = append(files, slot.Tensors[0]), append(of, x)
				}
			}
		}
	}
	for i, n := range each(files, size) {
		out[of[i]] += n
	}
	return out
}
