package compare

import (
	"runtime"
	"slices"
	"sync"

	"github.com/ilref/ilref/compare/shard"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/workers"
	"github.com/ilref/ilref/topology"
)

// fates are their names in a part.
var fates = []string{
	compared: "compared", missingInReference: "missing_in_reference", missingInTarget: "missing_in_target",
	skipped: "skipped", otherWorkload: "other_workload", unreadable: "unreadable", excluded: "excluded",
}

// suspects bounds how many tensors of a part get a hint in advance. The judge
// blames few, and hints at hinted at most; after a fault many look as if.
const suspects = 4 * hinted

// part describes what was measured.
func newPart(c *measured, own *shard.Units, policy *Policy, evidence []Measured, p shard.Part) *Part {
	out := &Part{
		Schema: PartSchema, Shard: p, Evidence: evidence,
		Reference: partSideOf(c.rawRef), Target: partSideOf(c.rawTarget),
		Rule: c.rule, Policy: c.policy, RatioLimit: c.ratioLimit,
		MinCoverage: c.minCoverage, Bounds: c.bounds, Layers: c.layers,
		Notes: partNotes{c.notes.Warnings, c.notes.Unmatched, c.notes.NoPartner},
	}
	rules := map[*Bounds]int{} // bounds of the policy's rules, which pairs share
	if policy != nil {
		for i := range policy.Rules {
			b := &policy.Rules[i].Bounds
			rules[b] = len(out.PolicyBounds)
			out.PolicyBounds = append(out.PolicyBounds, *b)
		}
	}
	c.judgeAlone()
	var todo [suspected + 1][]func()
	for i, f := range c.forwards {
		out.Forwards = append(out.Forwards, partForward{f.number, f.work, f.why, len(f.calls)})
		rows := sync.OnceValue(func() *tokens { return f.hintRows() })
		for at, x := range f.calls {
			if !own.Own(x.module, x.index) {
				continue
			}
			call := partCall{Forward: i, At: at, Step: x.step, Module: x.module, Call: x.index, Slots: make([]partSlot, len(x.slots))}
			if f.work == otherTokens && isEmbedding(x) {
				call.TokenHint = sessionLooker{&c.notes}.tokenHint(x)
			}
			for k, p := range x.slots {
				s := &call.Slots[k]
				*s = partSlotOf(p)
				s.Finding = p.finding
				if p.ranked {
					s.Rank = &p.rank
				}
				if p.bounds != nil {
					n := rules[p.bounds]
					s.Bounds = &n
				}
				how := c.suspicionOf(f, x, p, s.Finding)
				todo[how] = append(todo[how], func() { lookUp(sessionLooker{&c.notes}, x, p, rows, s) })
			}
			out.Calls = append(out.Calls, call)
		}
	}
	most := append(todo[suspected], todo[unlikely]...)
	most = most[:min(len(most), suspects)]
	workers.Each(runtime.GOMAXPROCS(0), len(most), func(i int) { most[i]() })
	return out
}

// lookUp adds what the judge asks of a tensor at fault.
func lookUp(look looker, x *call, p *slotPair, rows func() *tokens, s *partSlot) {
	s.RankGaps = look.rankGaps(p)
	for _, clean := range []bool{false, true} {
		if clean && x.of.Kind != topology.Attention {
			break // the rules for others do not ask
		}
		k, _ := look.clue(x, p, rows(), clean)
		s.Clues = append(s.Clues, partClue{x.in.gap, clean, k.rule, k.hint})
	}
}

func partSideOf(s *il.Session) PartSide {
	out := PartSide{Dir: s.Dir, Variant: string(s.Variant), Warnings: s.Warnings, Fingerprint: shard.Fingerprint(s)}
	for _, st := range s.Steps {
		out.Steps = append(out.Steps, st.Number)
	}
	return out
}

func partSlotOf(p *slotPair) partSlot {
	out := partSlot{Direction: p.Direction, Slot: p.Slot, Fate: fates[p.fate], Why: p.why, Bits: p.bits}
	t := p.result
	if t == nil {
		return out
	}
	out.Tensor = &partTensor{
		DTypes: [2]string{t.DTypes[0].String(), t.DTypes[1].String()},
		Shape:  slices.Clone(t.Shape), Rank: t.Rank, Gap: t.Gap, Logits: t.Logits, Local: t.Local,
	}
	if k := t.Token; k != nil {
		out.Tensor.Token = &partToken{k.Request, k.Position, k.ID, k.Text}
	}
	if f := t.Floor; f != nil {
		out.Tensor.Floor = &partFloor{f.types[0].String(), f.Target, f.Emulation, f.Apart}
	}
	return out
}

// suspicion is how likely a tensor turns out to be at fault, as far as its part
// can tell.
type suspicion int

const (
	innocent  suspicion = iota // it cannot be
	unlikely                   // only if equal bits in another part give it away
	suspected                  // unless a call of another part excuses it
)

func (m *measured) suspicionOf(f *forward, c *call, p *slotPair, finding string) suspicion {
	switch t := p.result; {
	case t == nil:
		return innocent
	case t.Verdict == Fail || finding != "":
		return suspected
	case t.Gap.Identical() || f.work != sameWork || m.bounds.set() || p.bounds != nil || p.Direction != inputs && len(c.children) == 0:
		return innocent
	}
	return unlikely
}
