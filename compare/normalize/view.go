// Package normalize makes two sessions comparable tensor by tensor. Everything that
// tells them apart without being a fault is undone by a transform from session
// to session, whose tensors are put together when they are opened:
//
//	names   transformers' modules under vLLM's names, or a map file    names.go, hf.go, hfshape.go, mapfile.go
//	ranks   the parts of tensor-parallel ranks                         ranks.go, kvcopies.go, assembly.go, rankcopies.go
//	logits  of a forward, in the step after it                         il.WithLaterLogits
//	stages  the rotary embeddings of a pipeline's stages               stages.go
//	heads   the padding of the vocabulary in logits                    vocabulary.go
//	align   rows by request and position                               align.go, layout.go
//	lacks   what the form of a recording has no place for              lacks.go
package normalize

import (
	"cmp"
	"maps"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/topology"
)

// Options says what Prepare cannot find out itself.
type Options struct {
	StepOffset *int // target step n is the reference's n+offset; rows are not matched then
	Map        *Map // the target's names for the reference's modules, nil for none

	// Canonical gives both sides the names of Canonical also where they agree
	// on others.
	Canonical bool

	KVHeads    int    // key and value heads of the model; 0 is unknown
	Before     *Notes // what is known of sessions that were prepared before; nil for none
	Vocabulary int    // columns that the logits of evidence have, 0 where it has none
}

// Notes is what the transforms found.
type Notes struct {
	Warnings  []string // a line each
	Unmatched int      // rows without a partner by nature: padding, logits of unfinished chunks
	NoPartner int      // tensors for which the other side's modules have no place

	// Logits says by the number of a forward, in both prepared sessions, what the
	// rows of its logits are of; nil where tokens and positions do not tell.
	Logits map[int]*Logits

	// told tells the tokens and positions of the prepared target where its rows were
	// lined up; nil where they were not.
	told  *il.Session
	ranks rankNotes
}

// add takes in the notes of another transform.
func (n *Notes) add(side string, m Notes) {
	for _, w := range m.Warnings {
		if side != "" {
			w = side + ": " + w
		}
		n.Warnings = append(n.Warnings, w)
	}
	n.Unmatched += m.Unmatched
	n.NoPartner += m.NoPartner
	if m.Logits != nil {
		n.Logits = m.Logits
	}
	if m.told != nil {
		n.told = m.told
	}
	if n.ranks == nil {
		n.ranks = rankNotes{}
	}
	maps.Copy(n.ranks, m.ranks)
}

// Prepare makes target comparable with ref. The steps of both results are
// those of ref. Sessions that need no change are returned as they are.
func Prepare(ref, target *il.Session, o Options) (r, t *il.Session, notes Notes, err error) {
	if target, err = o.Map.Rename(ref, target); err != nil {
		return nil, nil, notes, err
	}
	if o.Before != nil {
		notes.add("", Notes{ranks: o.Before.ranks})
	}
	forms := [2]*il.Session{ref, target}
	ref, target = withoutBatch(ref.WithLaterLogits()), withoutBatch(target.WithLaterLogits())
	r, t, rows, n := names(ref, target, o.Canonical, o.StepOffset == nil)
	notes.add("", n)
	if o.Before == nil {
		notes.add("reference", contradicted(rows[0]))
		notes.add("target", contradicted(rows[1]))
	} else if o.Before.told != nil {
		rows[0] = o.Before.told
	}
	r, t = sameResults(forms, r, t)
	right, judged := newRankJoiner(r, t, o.KVHeads), newRankJoiner(t, r, o.KVHeads)
	judged.lead = right
	joinedR, n := right.join()
	notes.add("reference", n)
	joinedT, n := judged.join()
	notes.add("target", n)
	if o.Canonical || !sameRopes(joinedR, joinedT) {
		joinedR, n.Warnings = oneRope(joinedR)
		notes.add("reference", Notes{Warnings: n.Warnings})
		joinedT, n.Warnings = oneRope(joinedT)
		notes.add("target", Notes{Warnings: n.Warnings})
	}
	joinedR, joinedT, n.Warnings = commonVocabulary(joinedR, joinedT, o.Vocabulary)
	notes.add("", Notes{Warnings: n.Warnings})
	if o.StepOffset != nil {
		if t, err = shift(joinedT, *o.StepOffset); err != nil {
			return joinedR, t, notes, err
		}
		if told, err := shift(rows[1], *o.StepOffset); err == nil && notes.Logits == nil {
			_, notes.Logits = sameTokens(joinedR, t, [2]*il.Session{rows[0], told})
		}
		r = joinedR
	} else {
		r, t, n = align(joinedR, joinedT, rows, notes.ranks)
		notes.add("", n)
	}
	r, t, n.NoPartner = heldByBoth(forms, r, t)
	notes.add("", Notes{NoPartner: n.NoPartner})
	return r, t, notes, nil
}

// contradicted notes that a session says of its requests what it did not record.
func contradicted(s *il.Session) (n Notes) {
	if w := requests.Contradicted(s); w != "" {
		n.Warnings = []string{w}
	}
	return n
}

// Canonical gives a session by itself the form of one process of vLLM on one
// device, in which ilref computes it again: transformers' modules have vLLM's
// names, the parts of tensor-parallel ranks are put together, and the stages of
// a pipeline share a rotary embedding. other may be the session that it is held
// against, or nil, and kvHeads is the model's number of key and value heads, 0
// for unknown: see Ranks.
// A session of transformers gets the names of other's architecture, where other is one of vLLM, else
// those of model, which is going to compute it, else those of the one that it says.
func Canonical(s, other *il.Session, kvHeads int, model ...*topology.Architecture) (*il.Session, Notes) {
	var n Notes
	s = withoutBatch(s.WithLaterLogits())
	if isHF(s) {
		s, _ = underVLLMNames(withHFPositions(s), nil, namesOf(s, other, model), lastRows)
		n.Warnings = append(n.Warnings, "transformers' modules are taken under vLLM's names")
	}
	j := newRankJoiner(s, other, kvHeads)
	if other != nil {
		j.lead = newRankJoiner(other, nil, kvHeads)
	}
	s, ranks := j.join()
	n.add("", ranks)
	s, stages := oneRope(s)
	n.Warnings = append(n.Warnings, stages...)
	return s, n
}

func namesOf(s, other *il.Session, model []*topology.Architecture) *topology.Architecture {
	if other != nil && isVLLM(other) {
		if a := of(other, s); a != nil {
			return a
		}
	}
	return cmp.Or(append(model, known(s, nil))...)
}

// known is the architecture of the session that s is held against, where that has vLLM's
// names, else the one that s says; nil where there is none.
func known(s, other *il.Session) *topology.Architecture {
	if other == nil || !isVLLM(other) {
		return topology.ByName(s.ArchitectureName(), topology.Era2025)
	}
	return of(other, s)
}

// of is the architecture of a session; of several with its names the one that it says, or that
// the other says.
func of(s, other *il.Session) *topology.Architecture {
	return topology.Recognise(s.Modules(), cmp.Or(s.ArchitectureName(), other.ArchitectureName()))
}

// Among is what a session holds of the modules of another.
func Among(s, other *il.Session) *il.Session {
	names := map[string]bool{}
	for m := range other.Modules() {
		names[m] = true
	}
	var steps []*il.Step
	for _, st := range s.Steps {
		out := &il.Step{Number: st.Number}
		for _, c := range st.Calls {
			if names[c.Module] {
				out.Calls = append(out.Calls, c)
			}
		}
		steps = append(steps, out)
	}
	return derive(s, steps)
}

// derive makes a session with other steps of one.
func derive(s *il.Session, steps []*il.Step) *il.Session {
	slices.SortFunc(steps, func(a, b *il.Step) int { return a.Number - b.Number })
	d := il.NewSession(s.Dir, s.Variant, steps)
	d.Warnings = s.Warnings
	d.Inherit(s)
	return d
}

// withSlots is a call with other slots.
func withSlots(c *il.Call, slots []*il.Slot) *il.Call {
	d := *c
	d.Slots = slots
	return &d
}

// withTensor is a slot that holds one tensor.
func withTensor(s *il.Slot, f *il.TensorFile) *il.Slot {
	return &il.Slot{Direction: s.Direction, Path: s.Path, Tensors: []*il.TensorFile{f}}
}
