// Package pairing finds what of two sessions is to be held against what:
// tensors by step, module, call, direction and slot, calls in the order in
// which they ran, forwards that ran the same tokens.
package pairing

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/shard"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/pyregex"
	"github.com/ilref/ilref/topology"
)

// Selection is what the options leave of two sessions.
type Selection struct {
	steps      []report.StepRange
	modules    map[string]bool // nil for all
	commonOnly bool
	Own        *shard.Units // nil for all
}

// NewSelection refuses a step or a pattern that selects nothing: a comparison
// of nothing must not look like one that passed.
func NewSelection(ref, target *il.Session, wanted []report.StepRange, modules []string, commonOnly bool) (*Selection, error) {
	s := &Selection{steps: wanted, commonOnly: commonOnly}
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

func (s *Selection) has(step int, module string) bool {
	if s.modules != nil && !s.modules[module] {
		return false
	}
	return len(s.steps) == 0 || slices.ContainsFunc(s.steps, func(r report.StepRange) bool { return r.First <= step && step <= r.Last })
}

// Narrow leaves the tensors of the selection's own units.
func (s *Selection) Narrow(fs []*Forward) {
	if s.Own == nil {
		return
	}
	for _, f := range fs {
		for _, c := range f.Calls {
			if !s.Own.Own(c.Module, c.Index) {
				c.Others = c.Slots
				c.Slots = nil
			}
		}
	}
}

// Status is what became of a pair of slots.
type Status int

const (
	Compared Status = iota
	MissingInReference
	MissingInTarget
	Skipped
	OtherWorkload
	Unreadable
	Excluded // by the policy
	Keyword  // an argument by keyword that one side alone recorded: outside the union
)

// Pair is one tensor of the union: nil stands for a session that lacks it.
type Pair struct {
	report.Key
	Ref, Target *il.Slot
	Status      Status
	Why         string
	Bounds      *report.Bounds     // that the policy holds it to; nil for the default rule
	Result      *report.TensorDiff // of a compared pair
	Replay      *il.Slot           // what the right model returned here for the target's inputs, nil for unknown
	Noise       *il.Slot           // of a reference that is a replay: how far the target's tensor is off; nil for unknown
	Bits        [2]string          // hashes of both tensors, in a part and of a part
	Origin      *Origin            // what it was handed on from
	Rows        *RowOrigin         // the rows it is a selection of; nil for no selection
	Finding     string             // the ranks of either side that differ where all must be alike, "" for none
	Rounded     bool               // ranks that compute the same keys and values differ by rounding alone: no finding
	OddRank     string             // which of them is off from the reference, "" where that is not known
	Rank        string             // the device that holds the largest difference; "" for a tensor of one device
	Ranked      bool               // rank is known

	Logprobs *report.LogitsTokens // of an output of logits: the tokens that were run; nil where it was not compared
}

// pairSlots pairs the tensors of one call. Slots of None hold nothing and do
// not count.
func pairSlots(step int, c *Call, commonOnly bool) []*Pair {
	type id struct{ direction, path string }
	pairs := map[id]*Pair{}
	add := func(ic *il.Call, side func(*Pair) **il.Slot) {
		if ic == nil {
			return
		}
		for _, s := range ic.Slots {
			if len(s.Tensors) == 0 && s.Stub == nil || s.Direction == il.Noise {
				continue
			}
			k := id{direction: string(s.Direction), path: s.Path}
			if pairs[k] == nil {
				pairs[k] = &Pair{Key: report.Key{Step: step, Module: c.Module, Call: c.Index, Direction: k.direction, Slot: k.path}}
			}
			*side(pairs[k]) = s
		}
	}
	add(c.Ref, func(p *Pair) **il.Slot { return &p.Ref })
	add(c.Target, func(p *Pair) **il.Slot { return &p.Target })
	var out []*Pair
	for _, p := range pairs {
		switch {
		case commonOnly && (p.Ref == nil || p.Target == nil):
			continue
		case p.Ref == nil && p.Target.Keyword():
			p.Status, p.Why = Keyword, "an argument by keyword, which the target alone recorded"
		case p.Target == nil && p.Ref.Keyword():
			p.Status, p.Why = Keyword, "an argument by keyword, which the reference alone recorded"
		case p.Ref == nil:
			p.Status = MissingInReference
		case p.Target == nil:
			p.Status = MissingInTarget
		case p.Ref.Stub != nil || p.Target.Stub != nil:
			p.Status, p.Why = Skipped, stubReason(p)
		case c.Unlike != "":
			p.Status, p.Why = Skipped, c.Unlike
		}
		if p.Direction == report.Outputs && c.Ref != nil {
			p.Noise = c.Ref.Slot(il.Noise, p.Slot)
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *Pair) int {
		return cmp.Or(cmp.Compare(DirectionRank(a.Direction), DirectionRank(b.Direction)), comparePaths(a.Slot, b.Slot))
	})
	return out
}

// IsLogitsOutput recognises the tensor that tokens are chosen by.
func IsLogitsOutput(k report.Key) bool {
	return k.Direction == report.Outputs && topology.Of(k.Module).Kind.IsHead()
}

func stubReason(p *Pair) string {
	r, t := p.Ref.Stub, p.Target.Stub
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

// DirectionRank orders directions as a call meets them.
func DirectionRank(d string) int {
	return slices.Index([]string{report.Inputs, report.Outputs, report.PostFwdInputs}, d)
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
	return report.FormatSteps(n)
}

func anyKey[K comparable](m map[K]bool, f func(K) bool) bool {
	for k := range m {
		if f(k) {
			return true
		}
	}
	return false
}
