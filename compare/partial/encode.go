package partial

import (
	"runtime"
	"slices"
	"sync"

	"github.com/ilref/ilref/compare/diagnose"
	"github.com/ilref/ilref/compare/judge"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/shard"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/workers"
	"github.com/ilref/ilref/topology"
)

// fates are their names in a part.
var fates = []string{
	pairing.Compared: "compared", pairing.MissingInReference: "missing_in_reference", pairing.MissingInTarget: "missing_in_target",
	pairing.Skipped: "skipped", pairing.OtherWorkload: "other_workload", pairing.Unreadable: "unreadable", pairing.Excluded: "excluded",
	pairing.Keyword: "keyword",
}

// suspects bounds how many tensors of a part get a hint in advance. The judge
// blames few, and hints at hinted at most; after a fault many look as if.
const suspects = 4 * diagnose.Hinted

// Encode describes what was measured.
func Encode(c *judge.Input, own *shard.Units, policy *report.Policy, evidence []report.Measured, p shard.Part) *Report {
	out := &Report{
		Schema: Schema, Shard: p, Evidence: evidence,
		Reference: sideOf(c.RawRef), Target: sideOf(c.RawTarget),
		Rule: c.Rule, Policy: c.Policy, RatioLimit: c.RatioLimit,
		MinCoverage: c.MinCoverage, Bounds: c.Bounds, Layers: c.Layers, Clip: c.Clip, Logprobs: c.Logprobs,
		Notes: notes{c.Notes.Warnings, c.Notes.Unmatched, c.Notes.NoPartner}, Setup: c.Setup,
	}
	rules := map[*report.Bounds]int{} // bounds of the policy's rules, which pairs share
	if policy != nil {
		for i := range policy.Rules {
			b := &policy.Rules[i].Bounds
			rules[b] = len(out.PolicyBounds)
			out.PolicyBounds = append(out.PolicyBounds, *b)
		}
	}
	c.JudgeAlone()
	var todo [suspected + 1][]func()
	for i, f := range c.Forwards {
		out.Forwards = append(out.Forwards, Forward{f.Number, f.Work, f.Why, len(f.Calls)})
		rows := sync.OnceValue(func() *pairing.Tokens { return diagnose.HintRows(f) })
		for at, x := range f.Calls {
			if !own.Own(x.Module, x.Index) {
				continue
			}
			call := Call{Forward: i, At: at, Step: x.Step, Module: x.Module, Call: x.Index, Slots: make([]Slot, len(x.Slots))}
			if f.Work == pairing.OtherTokens && pairing.IsEmbedding(x) {
				call.Tokens = diagnose.Sessions{Notes: &c.Notes}.Tokens(f)
			}
			for k, p := range x.Slots {
				s := &call.Slots[k]
				*s = slotOf(p)
				s.Finding = p.Finding
				if p.Ranked {
					s.Rank = &p.Rank
				}
				if p.Bounds != nil {
					n := rules[p.Bounds]
					s.Bounds = &n
				}
				how := suspicionOf(c, f, x, p, s.Finding)
				todo[how] = append(todo[how], func() { lookUp(diagnose.Sessions{Notes: &c.Notes, Experts: c.Experts}, x, p, rows, s) })
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
func lookUp(look diagnose.Looker, x *pairing.Call, p *pairing.Pair, rows func() *pairing.Tokens, s *Slot) {
	s.RankGaps = look.RankGaps(p)
	for _, clean := range []bool{false, true} {
		if clean && x.Of.Kind != topology.Attention {
			break // the rules for others do not ask
		}
		k, _ := look.Clue(x, p, rows(), clean)
		s.Clues = append(s.Clues, Clue{x.In.Gap, clean, k.Rule, k.Hint})
	}
}

func sideOf(s *il.Session) Side {
	out := Side{Dir: s.Dir, Variant: string(s.Variant), Warnings: s.Warnings, Unfinished: s.Unfinished(), Fingerprint: s.Fingerprint()}
	for _, st := range s.Steps {
		out.Steps = append(out.Steps, st.Number)
	}
	return out
}

func slotOf(p *pairing.Pair) Slot {
	out := Slot{Direction: p.Direction, Slot: p.Slot, Fate: fates[p.Status], Why: p.Why, Bits: p.Bits, Rows: p.Rows, Logprobs: p.Logprobs}
	t := p.Result
	if t == nil {
		return out
	}
	out.Tensor = &Tensor{
		DTypes: [2]string{t.DTypes[0].String(), t.DTypes[1].String()},
		Shape:  slices.Clone(t.Shape), Rank: t.Rank, Gap: t.Gap, Logits: t.Logits, Local: t.ReplayGap, Noise: t.Noise,
		Routing: t.Routing, Whole: t.Whole, LeftOut: t.LeftOut,
	}
	if k := t.Token; k != nil {
		out.Tensor.Token = &Token{k.Request, k.Position, k.ID, k.Text}
	}
	if f := t.NoiseRatio; f != nil {
		out.Tensor.Floor = &Floor{f.Types[0].String(), f.Target, f.Emulation, f.EmulationGap, f.Whole}
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

func suspicionOf(m *judge.Input, f *pairing.Forward, c *pairing.Call, p *pairing.Pair, finding string) suspicion {
	switch t := p.Result; {
	case t == nil:
		return innocent
	case t.Verdict == report.Fail || finding != "":
		return suspected
	case t.Gap.Identical() || f.Work != pairing.SameWork || m.Bounds.Set() || p.Bounds.Alone() || p.Direction != report.Inputs && len(c.Children) == 0:
		return innocent
	}
	return unlikely
}
