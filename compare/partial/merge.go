package partial

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/ilref/ilref/compare/diagnose"
	"github.com/ilref/ilref/compare/judge"
	"github.com/ilref/ilref/compare/measure"
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Assemble puts the parts together: what the judge is given, who knows the clues,
// and what the first part has to say of the recordings.
func Assemble(parts []*Report) (*judge.Input, diagnose.Looker, []string, error) {
	if err := complete(parts); err != nil {
		return nil, nil, nil, err
	}
	parts = slices.SortedFunc(slices.Values(parts), func(a, b *Report) int { return a.Shard.Index - b.Shard.Index })
	first := parts[0]
	for _, p := range parts[1:] {
		if err := first.sameWhole(p); err != nil {
			return nil, nil, nil, err
		}
	}
	for i, m := range first.Evidence {
		for _, p := range parts[1:] {
			m.Tensors += p.Evidence[i].Tensors
		}
		if err := measure.CheckEvidence(m, first.Target.Dir); err != nil {
			return nil, nil, nil, err
		}
	}
	fs, look, err := forwardsOf(parts)
	if err != nil {
		return nil, nil, nil, err
	}
	if !first.Bounds.Set() {
		if err := measure.Origins(context.Background(), fs, measure.SameDigests); err != nil {
			return nil, nil, nil, err
		}
	}
	return first.measured(fs), look, first.Warnings, nil
}

// complete refuses parts that are missing or doubled.
func complete(parts []*Report) error {
	byIndex := map[int]*Report{}
	for _, p := range parts {
		switch q := parts[0]; {
		case p.Shard.Count != q.Shard.Count:
			return fmt.Errorf("%s is %s, and %s is %s: give the parts of one comparison", q.File, q.Shard, p.File, p.Shard)
		case byIndex[p.Shard.Index] != nil:
			return fmt.Errorf("%s and %s are both %s: give each part once", byIndex[p.Shard.Index].File, p.File, p.Shard)
		}
		byIndex[p.Shard.Index] = p
	}
	if len(parts) == 0 {
		return fmt.Errorf("no parts to merge")
	}
	n := parts[0].Shard.Count
	var missing []string
	for i := 1; i <= n; i++ {
		if byIndex[i] == nil {
			missing = append(missing, strconv.Itoa(i))
		}
	}
	switch k := len(missing); {
	case k == 0:
		return nil
	case k == 1:
		return fmt.Errorf("part %s of %d is missing: run it, or give its report too", missing[0], n)
	case k > report.Listed:
		return fmt.Errorf("parts %s and %d more of %d are missing: run them, or give their reports too", strings.Join(missing[:report.Listed], ", "), k-report.Listed, n)
	}
	return fmt.Errorf("parts %s of %d are missing: run them, or give their reports too", strings.Join(missing, ", "), n)
}

// sameWhole refuses a part of another comparison.
func (p *Report) sameWhole(q *Report) error {
	if p.Version != q.Version {
		return fmt.Errorf("%s was written by ildiff %s, %s by %s: make all parts with one version", p.File, p.Version, q.File, q.Version)
	}
	for _, k := range slices.Sorted(maps.Keys(union(p.Options, q.Options))) {
		if a, b := p.Options[k], q.Options[k]; a != b {
			return fmt.Errorf("%s was made with %s, %s with %s: give all parts the same options", p.File, option(k, a), q.File, option(k, b))
		}
	}
	for _, s := range []struct {
		name string
		a, b Side
	}{{"reference", p.Reference, q.Reference}, {"target", p.Target, q.Target}} {
		if s.a.Fingerprint != s.b.Fingerprint {
			return fmt.Errorf("%s and %s did not read the same %s (%s, %s), or it changed in between: make all parts again", p.File, q.File, s.name, s.a.Dir, s.b.Dir)
		}
	}
	a, b := p.whole(), q.whole()
	if !reflect.DeepEqual(a, b) {
		return fmt.Errorf("%s and %s do not agree on what is compared: make all parts again, with one version, the same options and sessions that stay as they are", p.File, q.File)
	}
	return nil
}

func union(a, b map[string]string) map[string]bool {
	out := map[string]bool{}
	for _, m := range []map[string]string{a, b} {
		for k := range m {
			out[k] = true
		}
	}
	return out
}

func option(name, value string) string {
	if value == "" {
		return "no --" + name
	}
	return "--" + name + " " + value
}

// whole is what every part must say, in terms of the whole. Paths may differ:
// a session can lie elsewhere on another machine.
func (p *Report) whole() Report {
	w := Report{
		Rule: p.Rule, Policy: p.Policy, RatioLimit: p.RatioLimit, MinCoverage: p.MinCoverage, Bounds: p.Bounds,
		PolicyBounds: p.PolicyBounds, Layers: p.Layers, Forwards: p.Forwards, Clip: p.Clip, Logprobs: p.Logprobs, Setup: p.Setup,
		Notes: notes{Unmatched: p.Notes.Unmatched, NoPartner: p.Notes.NoPartner},
	}
	for _, m := range p.Evidence {
		w.Evidence = append(w.Evidence, report.Measured{Name: m.Name})
	}
	return w
}

// forwardsOf builds the tree of calls of all parts.
func forwardsOf(parts []*Report) ([]*pairing.Forward, looked, error) {
	look := looked{map[*pairing.Pair]*Slot{}, map[*pairing.Call]diagnose.TokenClue{}}
	total, have := 0, 0
	for _, f := range parts[0].Forwards {
		total += f.Calls
	}
	for _, p := range parts {
		have += len(p.Calls)
	}
	if have != total { // before anything of the stated size is made
		return nil, look, fmt.Errorf("the parts hold %d of the %d calls of the comparison: make all parts again, from sessions that stay as they are", have, total)
	}
	var out []*pairing.Forward
	for _, f := range parts[0].Forwards {
		out = append(out, &pairing.Forward{Number: f.Step, Work: f.Work, Why: f.Why, Calls: make([]*pairing.Call, f.Calls)})
	}
	arch := architectureOf(parts)
	for _, p := range parts {
		for i := range p.Calls {
			c := &p.Calls[i]
			to := &out[c.Forward].Calls[c.At]
			if *to != nil {
				return nil, look, fmt.Errorf("%s: step_%d/%s is in another part as well: make all parts again", p.File, c.Step, il.CallName(c.Module, c.Call))
			}
			*to = c.call(p, arch, look)
		}
	}
	for _, f := range out {
		if f.Work == pairing.OtherTokens && f.Find(pairing.IsEmbedding) == nil {
			return nil, look, fmt.Errorf("%s: forward %d is said to have run other tokens, and has no call of the embedding", parts[0].File, f.Number)
		}
		f.Link()
	}
	return out, look, nil
}

// architectureOf is one that has the modules of all parts.
func architectureOf(parts []*Report) *topology.Architecture {
	return topology.Recognise(func(yield func(string) bool) {
		for _, p := range parts {
			for i := range p.Calls {
				if !yield(p.Calls[i].Module) {
					return
				}
			}
		}
	})
}

func (c *Call) call(p *Report, arch *topology.Architecture, look looked) *pairing.Call {
	out := &pairing.Call{Step: c.Step, Module: c.Module, Of: arch.Of(c.Module), Index: c.Call}
	look.tokens[out] = c.Tokens
	for i := range c.Slots {
		pair := c.Slots[i].pair(p, c)
		look.slots[pair] = &c.Slots[i]
		out.Slots = append(out.Slots, pair)
	}
	return out
}

func (s *Slot) pair(p *Report, c *Call) *pairing.Pair {
	out := &pairing.Pair{
		Key: report.Key{Step: c.Step, Module: c.Module, Call: c.Call, Direction: s.Direction, Slot: s.Slot}, Status: pairing.Status(slices.Index(fates, s.Fate)), Why: s.Why, Bits: s.Bits,
		Finding: s.Finding, Rows: s.Rows, Logprobs: s.Logprobs,
	}
	if s.Rank != nil {
		out.Rank, out.Ranked = *s.Rank, true
	}
	if s.Bounds != nil {
		out.Bounds = &p.PolicyBounds[*s.Bounds]
	}
	if s.Tensor != nil {
		out.Result = s.Tensor.tensor(out.Key)
	}
	return out
}

func (t *Tensor) tensor(k report.Key) *report.TensorDiff {
	types, _ := t.types() // check has seen them
	out := &report.TensorDiff{Key: k, DTypes: types, Shape: t.Shape, Rank: t.Rank, Gap: t.Gap, Logits: t.Logits, ReplayGap: t.Local, Noise: t.Noise, Routing: t.Routing, Whole: t.Whole, LeftOut: t.LeftOut}
	if x := t.Token; x != nil {
		out.Token = &report.Token{Request: x.Request, Position: x.Position, ID: x.ID, Text: x.Text}
	}
	if f := t.Floor; f != nil {
		emulation, _ := parseType(f.DType)
		out.NoiseRatio = rounding.NewNoiseRatio(f.Target, f.Emulation, f.Apart, [2]tensor.DType{emulation, types[1]})
		out.NoiseRatio.Whole = f.Whole
	}
	return out
}

// measured is the whole.
func (p *Report) measured(fs []*pairing.Forward) *judge.Input {
	return &judge.Input{
		RawRef: p.Reference.session(), RawTarget: p.Target.session(), Forwards: fs, Layers: p.Layers,
		Rule: p.Rule, Policy: p.Policy, RatioLimit: p.RatioLimit, Bounds: p.Bounds, MinCoverage: p.MinCoverage,
		Notes: normalize.Notes{Warnings: p.Notes.Warnings, Unmatched: p.Notes.Unmatched, NoPartner: p.Notes.NoPartner},
		Clip:  p.Clip, Logprobs: p.Logprobs,
		Unfinished: judge.Unfinished(p.Reference.Unfinished, p.Target.Unfinished),
		Setup:      p.Setup,
	}
}

// session is a side as far as a report describes it.
func (s *Side) session() *il.Session {
	var steps []*il.Step
	for _, n := range s.Steps {
		steps = append(steps, &il.Step{Number: n})
	}
	out := il.NewSession(s.Dir, il.Variant(s.Variant), steps)
	out.Warnings = s.Warnings
	return out
}
