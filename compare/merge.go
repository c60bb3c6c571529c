package compare

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/ilref/ilref/compare/view"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Merge puts the parts of one comparison together and judges it: the report is
// that of the whole, made without the sessions. It refuses parts that are not
// all there, are there twice, or are of different comparisons.
func Merge(parts []*Part) (*Report, error) {
	m, look, warnings, err := assemble(parts)
	if err != nil {
		return nil, err
	}
	r := verdict(m, look)
	r.Warnings = append(slices.Clone(warnings), r.Warnings...)
	if n := len(r.unhinted); n > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s failed without a hint: the part that measured it expected other inputs; first %s", count(n, "call"), r.unhinted[0]))
	}
	return r, nil
}

// assemble puts the parts together: what the judge is given, who knows the clues,
// and what the first part has to say of the recordings.
func assemble(parts []*Part) (*measured, looker, []string, error) {
	if err := complete(parts); err != nil {
		return nil, nil, nil, err
	}
	parts = slices.SortedFunc(slices.Values(parts), func(a, b *Part) int { return a.Shard.Index - b.Shard.Index })
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
		if err := m.check(first.Target.Dir); err != nil {
			return nil, nil, nil, err
		}
	}
	fs, look, err := forwardsOf(parts)
	if err != nil {
		return nil, nil, nil, err
	}
	if !first.Bounds.set() {
		if err := findOrigins(context.Background(), fs, sameDigests); err != nil {
			return nil, nil, nil, err
		}
	}
	return first.measured(fs), look, first.Warnings, nil
}

// complete refuses parts that are missing or doubled.
func complete(parts []*Part) error {
	byIndex := map[int]*Part{}
	for _, p := range parts {
		switch q := parts[0]; {
		case p.Shard.Count != q.Shard.Count:
			return fmt.Errorf("%s is %s, and %s is %s: give the parts of one comparison", q.file, q.Shard, p.file, p.Shard)
		case byIndex[p.Shard.Index] != nil:
			return fmt.Errorf("%s and %s are both %s: give each part once", byIndex[p.Shard.Index].file, p.file, p.Shard)
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
	case k > listed:
		return fmt.Errorf("parts %s and %d more of %d are missing: run them, or give their reports too", strings.Join(missing[:listed], ", "), k-listed, n)
	}
	return fmt.Errorf("parts %s of %d are missing: run them, or give their reports too", strings.Join(missing, ", "), n)
}

// sameWhole refuses a part of another comparison.
func (p *Part) sameWhole(q *Part) error {
	if p.Version != q.Version {
		return fmt.Errorf("%s was written by ildiff %s, %s by %s: make all parts with one version", p.file, p.Version, q.file, q.Version)
	}
	for _, k := range slices.Sorted(maps.Keys(union(p.Options, q.Options))) {
		if a, b := p.Options[k], q.Options[k]; a != b {
			return fmt.Errorf("%s was made with %s, %s with %s: give all parts the same options", p.file, option(k, a), q.file, option(k, b))
		}
	}
	for _, s := range []struct {
		name string
		a, b PartSide
	}{{"reference", p.Reference, q.Reference}, {"target", p.Target, q.Target}} {
		if s.a.Fingerprint != s.b.Fingerprint {
			return fmt.Errorf("%s and %s did not read the same %s (%s, %s), or it changed in between: make all parts again", p.file, q.file, s.name, s.a.Dir, s.b.Dir)
		}
	}
	a, b := p.whole(), q.whole()
	if !reflect.DeepEqual(a, b) {
		return fmt.Errorf("%s and %s do not agree on what is compared: make all parts again, with one version, the same options and sessions that stay as they are", p.file, q.file)
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
func (p *Part) whole() Part {
	w := Part{
		Rule: p.Rule, Policy: p.Policy, RatioLimit: p.RatioLimit, MinCoverage: p.MinCoverage, Bounds: p.Bounds,
		PolicyBounds: p.PolicyBounds, Layers: p.Layers, Forwards: p.Forwards,
		Notes: partNotes{Unmatched: p.Notes.Unmatched, NoPartner: p.Notes.NoPartner},
	}
	for _, m := range p.Evidence {
		w.Evidence = append(w.Evidence, Measured{Name: m.Name})
	}
	return w
}

// forwardsOf builds the tree of calls of all parts.
func forwardsOf(parts []*Part) ([]*forward, partLooker, error) {
	look := partLooker{map[*slotPair]*partSlot{}, map[*call]string{}}
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
	var out []*forward
	for _, f := range parts[0].Forwards {
		out = append(out, &forward{number: f.Step, work: f.Work, why: f.Why, calls: make([]*call, f.Calls)})
	}
	arch := architectureOf(parts)
	for _, p := range parts {
		for i := range p.Calls {
			c := &p.Calls[i]
			to := &out[c.Forward].calls[c.At]
			if *to != nil {
				return nil, look, fmt.Errorf("%s: step_%d/%s is in another part as well: make all parts again", p.file, c.Step, il.CallName(c.Module, c.Call))
			}
			*to = c.call(p, arch, look)
		}
	}
	for _, f := range out {
		if f.work == otherTokens && f.find(isEmbedding) == nil {
			return nil, look, fmt.Errorf("%s: forward %d is said to have run other tokens, and has no call of the embedding", parts[0].file, f.number)
		}
		f.link()
	}
	return out, look, nil
}

// architectureOf is one that has the modules of all parts.
func architectureOf(parts []*Part) *topology.Architecture {
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

func (c *partCall) call(p *Part, arch *topology.Architecture, look partLooker) *call {
	out := &call{step: c.Step, module: c.Module, of: arch.Of(c.Module), index: c.Call}
	look.tokens[out] = c.TokenHint
	for i := range c.Slots {
		pair := c.Slots[i].pair(p, c)
		look.slots[pair] = &c.Slots[i]
		out.slots = append(out.slots, pair)
	}
	return out
}

func (s *partSlot) pair(p *Part, c *partCall) *slotPair {
	out := &slotPair{
		Key: Key{c.Step, c.Module, c.Call, s.Direction, s.Slot}, fate: fate(slices.Index(fates, s.Fate)), why: s.Why, bits: s.Bits,
		finding: s.Finding,
	}
	if s.Rank != nil {
		out.rank, out.ranked = *s.Rank, true
	}
	if s.Bounds != nil {
		out.bounds = &p.PolicyBounds[*s.Bounds]
	}
	if s.Tensor != nil {
		out.result = s.Tensor.tensor(out.Key)
	}
	return out
}

func (t *partTensor) tensor(k Key) *Tensor {
	types, _ := t.types() // check has seen them
	out := &Tensor{Key: k, DTypes: types, Shape: t.Shape, Rank: t.Rank, Gap: t.Gap, Logits: t.Logits, Local: t.Local}
	if x := t.Token; x != nil {
		out.Token = &Token{x.Request, x.Position, x.ID, x.Text}
	}
	if f := t.Floor; f != nil {
		emulation, _ := parseType(f.DType)
		out.Floor = newFloor(f.Target, f.Emulation, f.Apart, [2]tensor.DType{emulation, types[1]})
	}
	return out
}

// measured is the whole.
func (p *Part) measured(fs []*forward) *measured {
	return &measured{
		rawRef: p.Reference.session(), rawTarget: p.Target.session(), forwards: fs, layers: p.Layers,
		rule: p.Rule, policy: p.Policy, ratioLimit: p.RatioLimit, bounds: p.Bounds, minCoverage: p.MinCoverage,
		notes: view.Notes{Warnings: p.Notes.Warnings, Unmatched: p.Notes.Unmatched, NoPartner: p.Notes.NoPartner},
	}
}

// session is a side as far as a report describes it.
func (s *PartSide) session() *il.Session {
	var steps []*il.Step
	for _, n := range s.Steps {
		steps = append(steps, &il.Step{Number: n})
	}
	out := il.NewSession(s.Dir, il.Variant(s.Variant), steps)
	out.Warnings = s.Warnings
	return out
}
