package lint

import (
	"hash/maphash"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// frozen finds outputs that are equal to the bit where they cannot be: of the
// same module in two layers, or of one module in two steps with other inputs.
// Hooks that ran while a CUDA graph was captured, or that saved a buffer that
// is used again, leave such frames.
func (l *linter) frozen() {
	for _, s := range l.steps {
		l.acrossLayers(s)
	}
	l.acrossSteps()
}

// sharedByNature reports an output that depends on the shape or the positions
// alone, so that layers and steps may share it.
func sharedByNature(c *callFacts) bool {
	return topology.FixedByNature(c.Module, c.Slot(il.Inputs, "2") != nil)
}

func (l *linter) acrossLayers(s *stepFacts) {
	type place struct {
		kind, slot, device string
		hash               uint64
	}
	seen := map[place]*fact{}
	for _, c := range s.calls {
		if c.Layer < 0 || sharedByNature(c) || c.Rel == c.Module {
			continue
		}
		for _, f := range c.facts {
			if f.slot.Direction != il.Outputs || !f.some() {
				continue
			}
			p := place{c.Pattern(), f.slot.Path, f.device(), f.hash}
			first := seen[p]
			switch {
			case first == nil:
				seen[p] = f
			case first.call.Layer != c.Layer:
				l.add(Error, "same-in-two-layers", c, f, "%s equals %s to the bit (%d values): one buffer was saved for two layers, as under CUDA graphs; record with enforce_eager", f.name(), first.name(), f.numel())
			}
		}
	}
}

func (l *linter) acrossSteps() {
	type place struct {
		name, slot, device string
		hash               uint64
	}
	type origin struct {
		fact   *fact
		inputs uint64
	}
	seen := map[place]origin{}
	for _, s := range l.steps {
		for _, c := range s.calls {
			if sharedByNature(c) {
				continue
			}
			for _, f := range c.facts {
				if f.slot.Direction != il.Outputs || !f.some() || c.handsOn(f) {
					continue
				}
				inputs, ok := c.inputsHash(f.device())
				if !ok {
					continue
				}
				p := place{c.name(), f.slot.Path, f.device(), f.hash}
				first, again := seen[p]
				switch {
				case !again:
					seen[p] = origin{f, inputs}
				case first.inputs != inputs:
					l.add(Error, "same-in-two-steps", c, f, "%s equals that of step %d to the bit (%d values), though the inputs differ: an old buffer was saved, as under CUDA graphs; record with enforce_eager",
						f.name(), first.fact.call.step.number, f.numel())
				}
			}
		}
	}
}

// handsOn reports an output that is an input of the same call.
func (c *callFacts) handsOn(out *fact) bool {
	return slices.ContainsFunc(c.facts, func(f *fact) bool {
		return f.slot.Direction == il.Inputs && f.device() == out.device() && f.some() && f.hash == out.hash
	})
}

// hashed is a hash where one is known.
type hashed struct {
	sum uint64
	ok  bool
}

// inputsHash is the hash of all recorded inputs of a call, or of the tokens of
// its step where it records none; not ok where neither is known.
func (c *callFacts) inputsHash(device string) (uint64, bool) {
	if c.inputs == nil {
		c.inputs = c.hashInputs()
		c.given = c.has[il.Inputs] && !c.onlyKeywords()
	}
	h := c.inputs[device]
	if !h.ok && !c.given {
		h = c.step.tokensHash(device)
	}
	return h.sum, h.ok
}

// tokensHash is the hash of the token ids and positions of a step.
func (s *stepFacts) tokensHash(device string) hashed {
	if h, done := s.tokens[device]; done {
		return h
	}
	var h maphash.Hash
	h.SetSeed(seed)
	n := 0
	for _, x := range s.calls {
		if x.spec.Kind == topology.Embedding || x.IsLayer() {
			for _, path := range topology.PositionsSlots {
				if f := x.find(device, il.Inputs, path); f != nil && f.whole && f.dtype.IsInt() {
					maphash.WriteComparable(&h, f.hash)
					n++
				}
			}
		}
	}
	if s.tokens == nil {
		s.tokens = map[string]hashed{}
	}
	s.tokens[device] = hashed{h.Sum64(), n > 0}
	return s.tokens[device]
}

// onlyKeywords reports a side file that tells of no positional argument.
func (c *callFacts) onlyKeywords() bool {
	v, err := c.Values(il.Inputs)
	t, ok := v.(il.Tuple)
	return err == nil && ok && len(t) == 0
}

// hashInputs is the hash of the inputs on each device; not ok where one could
// not be read.
func (c *callFacts) hashInputs() map[string]hashed {
	hashes, out := map[string]*maphash.Hash{}, map[string]hashed{}
	for _, f := range c.facts {
		if f.slot.Direction != il.Inputs {
			continue
		}
		h := hashes[f.device()]
		if h == nil {
			h = &maphash.Hash{}
			h.SetSeed(seed)
			hashes[f.device()], out[f.device()] = h, hashed{ok: true}
		}
		maphash.WriteComparable(h, f.hash)
		out[f.device()] = hashed{h.Sum64(), out[f.device()].ok && f.whole}
	}
	return out
}
