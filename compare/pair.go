package compare

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ilref/ilref/compare/shard"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/pyregex"
	"github.com/ilref/ilref/topology"
)

// StepRange is an inclusive range of step numbers.
type StepRange struct {
	First, Last int
}

func (r StepRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// ParseSteps reads a list of step numbers and ranges: "0,2-4".
func ParseSteps(s string) ([]StepRange, error) {
	var out []StepRange
	for part := range strings.SplitSeq(s, ",") {
		lo, hi, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			hi = lo
		}
		first, err1 := strconv.ParseUint(lo, 10, 31)
		last, err2 := strconv.ParseUint(hi, 10, 31)
		if err1 != nil || err2 != nil || first > last {
			return nil, fmt.Errorf("steps %q: %q is neither a step number nor a range; write for example 0,2-4", s, part)
		}
		out = append(out, StepRange{int(first), int(last)})
	}
	return out, nil
}

// selection is what the options leave of two sessions.
type selection struct {
	steps      []StepRange
	modules    map[string]bool // nil for all
	commonOnly bool
	own        *shard.Units // nil for all
}

// newSelection refuses a step or a pattern that selects nothing: a comparison
// of nothing must not look like one that passed.
func newSelection(ref, target *il.Session, wanted []StepRange, modules []string, commonOnly bool) (*selection, error) {
	s := &selection{steps: wanted, commonOnly: commonOnly}
	names, steps := map[string]bool{}, map[int]bool{}
	for _, ses := range []*il.Session{ref, target} {
		for _, st := range ses.Steps {
			steps[st.Number] = true
			for _, c := range st.Calls {
				names[c.Module] = true
			}
		}
	}
	for _, r := range wanted {
		if !anyKey(steps, func(n int) bool { return r.First <= n && n <= r.Last }) {
			return nil, fmt.Errorf("step %s is in neither session: the reference holds %s, the target %s", r, stepList(ref), stepList(target))
		}
	}
	if len(modules) > 0 {
		s.modules = map[string]bool{}
	}
	for _, p := range modules {
		re, err := pyregex.Compile(p)
		if err != nil {
			return nil, fmt.Errorf("module pattern %q: %w", p, err)
		}
		n := 0
		for _, name := range slices.Sorted(maps.Keys(names)) {
			ok, err := re.Search(name)
			if err != nil {
				return nil, fmt.Errorf("module %w", err)
			}
			if ok {
				s.modules[name] = true
				n++
			}
		}
		if n == 0 {
			return nil, fmt.Errorf("module pattern %q matches none of the %d modules of the two sessions", p, len(names))
		}
	}
	return s, nil
}

func (s *selection) has(step int, module string) bool {
	if s.modules != nil && !s.modules[module] {
		return false
	}
	return len(s.steps) == 0 || slices.ContainsFunc(s.steps, func(r StepRange) bool { return r.First <= step && step <= r.Last })
}

// narrow leaves the tensors of the selection's own units.
func (s *selection) narrow(fs []*forward) {
	if s.own == nil {
		return
	}
	for _, f := range fs {
		for _, c := range f.calls {
			if !s.own.Own(c.module, c.index) {
				c.slots = nil
			}
		}
	}
}

// fate is what became of a pair of slots.
type fate int

const (
	compared fate = iota
	missingInReference
	missingInTarget
	skipped
	otherWorkload
	unreadable
	excluded // by the policy
)

// slotPair is one tensor of the union: nil stands for a session that lacks it.
type slotPair struct {
	Key
	ref, target *il.Slot
	fate        fate
	why         string
	bounds      *Bounds   // that the policy holds it to; nil for the default rule
	result      *Tensor   // of a compared pair
	replay      *il.Slot  // what the right model returned here for the target's inputs, nil for unknown
	bits        [2]string // hashes of both tensors, in a part and of a part
	origin      *origin   // what it was handed on from
	finding     string    // the ranks of either side that differ where all must be alike, "" for none
	rank        string    // the device that holds the largest difference; "" for a tensor of one device
	ranked      bool      // rank is known
}

// pairSlots pairs the tensors of one call. Slots of None hold nothing and do
// not count.
func pairSlots(step int, c *call, commonOnly bool) []*slotPair {
	type id struct{ direction, path string }
	pairs := map[id]*slotPair{}
	add := func(ic *il.Call, side func(*slotPair) **il.Slot) {
		if ic == nil {
			return
		}
		for _, s := range ic.Slots {
			if len(s.Tensors) == 0 && s.Stub == nil {
				continue
			}
			k := id{string(s.Direction), s.Path}
			if pairs[k] == nil {
				pairs[k] = &slotPair{Key: Key{step, c.module, c.index, k.direction, k.path}}
			}
			*side(pairs[k]) = s
		}
	}
	add(c.ref, func(p *slotPair) **il.Slot { return &p.ref })
	add(c.target, func(p *slotPair) **il.Slot { return &p.target })
	var out []*slotPair
	for _, p := range pairs {
		switch {
		case commonOnly && (p.ref == nil || p.target == nil):
			continue
		case p.ref == nil:
			p.fate = missingInReference
		case p.target == nil:
			p.fate = missingInTarget
		case p.ref.Stub != nil || p.target.Stub != nil:
			p.fate, p.why = skipped, stubReason(p)
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *slotPair) int {
		return cmp.Or(cmp.Compare(directionRank(a.Direction), directionRank(b.Direction)), comparePaths(a.Slot, b.Slot))
	})
	return out
}

// isLogitsOutput recognises the tensor that tokens are chosen by.
func isLogitsOutput(k Key) bool {
	return k.Direction == outputs && topology.Of(k.Module).Kind.IsHead()
}

func stubReason(p *slotPair) string {
	r, t := p.ref.Stub, p.target.Stub
	switch {
	case r != nil && t != nil && r.Reason == t.Reason:
		return "not recorded in either session: " + r.Reason
	case r != nil && t != nil:
		return fmt.Sprintf("not recorded in the reference: %s; nor in the target: %s", r.Reason, t.Reason)
	case r != nil:
		return "not recorded in the reference: " + r.Reason
	}
	return "not recorded in the target: " + t.Reason
}

func directionRank(d string) int {
	return slices.Index([]string{inputs, outputs, postFwdInputs}, d)
}

// comparePaths orders slot paths as the arguments were: "2" before "10".
func comparePaths(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "_"), strings.Split(b, "_"), func(x, y string) int {
		i, err1 := strconv.Atoi(x)
		j, err2 := strconv.Atoi(y)
		if err1 == nil && err2 == nil {
			return cmp.Compare(i, j)
		}
		return strings.Compare(x, y)
	})
}

func stepList(s *il.Session) string {
	n := make([]int, len(s.Steps))
	for i, st := range s.Steps {
		n[i] = st.Number
	}
	return formatSteps(n)
}

// formatSteps writes ascending numbers as "no steps", "step 3" or
// "steps 0-2, 5".
func formatSteps(n []int) string {
	if len(n) == 0 {
		return "no steps"
	}
	var parts []string
	for i := 0; i < len(n); {
		j := i
		for j+1 < len(n) && n[j+1] == n[j]+1 {
			j++
		}
		parts = append(parts, StepRange{n[i], n[j]}.String())
		i = j + 1
	}
	if len(n) == 1 {
		return "step " + parts[0]
	}
	return "steps " + strings.Join(parts, ", ")
}

func anyKey[K comparable](m map[K]bool, f func(K) bool) bool {
	for k := range m {
		if f(k) {
			return true
		}
	}
	return false
}
