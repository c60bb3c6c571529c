package compare

import (
	"fmt"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// work says whether a forward did the same work in both sessions.
type work int

const (
	sameWork    work = iota // the same tokens, or nothing that tells otherwise
	otherTokens             // the tokens part here, for the first time
	otherLayout             // one side's tokens are the first of the other's: chunks, padding, a batch
	otherPast               // earlier forwards of the same requests did other work
)

// maxTokens bounds what is read of a token tensor; no step has more.
const maxTokens = 1 << 24

// workloads finds the forwards that the two sessions did not run on the same
// tokens. Keys and values of the tokens before are an input that no call
// records, so from such a forward on nothing can be judged, until one starts
// all of its requests anew (every position run begins at 0).
func workloads(fs []*forward) {
	lost, parted := false, false // parted: the tokens differ, and no selected forward has said so yet
	for _, f := range fs {
		r, t := tokenInputs(f.find(isEmbedding))
		f.otherLength = len(r) != len(t)
		switch {
		case !f.inBoth(): // everything in it is missing on one side
		case r == nil || t == nil: // not recorded: nothing new is known
			if lost {
				f.work, f.why = otherPast, "its tokens are not recorded, and those before differ"
			}
		case slices.Equal(r, t):
			if lost = lost && !f.startsAnew(); lost {
				f.work, f.why = otherPast, "its tokens agree, but those before do not"
			}
		case lost && !parted:
			f.work, f.why = otherPast, "other tokens: "+differingTokens(r, t)
		default:
			lost, parted = true, true
			f.work, f.why = otherTokens, "token ids differ: "+differingTokens(r, t)
			if layout := otherLayoutOf(r, t); layout != "" {
				f.work, f.why = otherLayout, layout
			}
		}
		parted = parted && !f.selected()
	}
}

func isEmbedding(c *call) bool { return c.of.Kind == topology.Embedding && c.index == 0 }

// selected reports whether any tensor of the forward is to be compared.
func (f *forward) selected() bool {
	return f.find(func(c *call) bool { return len(c.slots) > 0 }) != nil
}

// inBoth reports whether both sessions made any call of the forward.
func (f *forward) inBoth() bool {
	return f.find(func(c *call) bool { return c.ref != nil && c.target != nil }) != nil
}

func (f *forward) find(match func(*call) bool) *call {
	if i := slices.IndexFunc(f.calls, match); i >= 0 {
		return f.calls[i]
	}
	return nil
}

// startsAnew reports whether every request of the forward begins at position 0,
// by the reference's positions.
func (f *forward) startsAnew() bool {
	c := f.find(func(c *call) bool {
		pos, _ := tokenInputs(c)
		return pos != nil && c.of.Kind != topology.Embedding
	})
	pos, other := tokenInputs(c)
	if pos == nil || !slices.Equal(pos, other) {
		return false
	}
	for i, p := range pos {
		if p != 0 && (i == 0 || p != pos[i-1]+1) {
			return false
		}
	}
	return true
}

// tokenInputs reads input 0 of a call on both sides, where it is an integer
// tensor: token ids or positions.
func tokenInputs(c *call) (ref, target []int) {
	if c == nil {
		return nil, nil
	}
	return tokenInput(c.ref), tokenInput(c.target)
}

// tokenInput gives nil for what cannot be read; measuring reports it.
func tokenInput(c *il.Call) []int {
	if c == nil {
		return nil
	}
	f := findSlot(c, il.Inputs, "0")
	if f == nil {
		return nil
	}
	var ids []int
	_ = f.With(func(t *tensor.Tensor) (err error) {
		if !t.DType.IsInt() || t.Meta || t.Numel() > maxTokens {
			return nil
		}
		ids, err = t.Ints()
		return err
	})
	return ids
}

func differingTokens(r, t []int) string {
	if len(r) != len(t) {
		return fmt.Sprintf("%s in the reference, %s in the target", count(len(r), "id"), count(len(t), "id")) + shifted(r, t)
	}
	i := 0
	for r[i] == t[i] {
		i++
	}
	s := fmt.Sprintf("%d in the reference, %d in the target", r[i], t[i])
	if len(r) > 1 {
		s = fmt.Sprintf("at [%d] ", i) + s
	}
	return s
}

// shifted recognises a first token (BOS) that one tokenizer added.
func shifted(r, t []int) string {
	switch {
	case len(r) > 0 && slices.Equal(r[1:], t):
		return fmt.Sprintf(", which lacks only the first, %d (a BOS token?)", r[0])
	case len(t) > 0 && slices.Equal(t[1:], r):
		return fmt.Sprintf(", which has %d before the others (a BOS token?)", t[0])
	}
	return ""
}

// tokenHint is the likely cause of other token ids.
func tokenHint(r, t []int) string {
	switch {
	case len(r) == 0 || len(t) == 0:
		return ""
	case shifted(r, t) != "":
		return "the BOS token, which one side's tokenizer or chat template adds and the other's does not: but for the first id both sides have the same"
	case len(r) != len(t):
		return fmt.Sprintf("another text, chat template or tokenizer: %d ids against %d", len(r), len(t))
	}
	n := 0
	for i := range r {
		if r[i] != t[i] {
			n++
		}
	}
	return fmt.Sprintf("another text, chat template or tokenizer: %d of %s differ", n, count(len(r), "id"))
}

// otherLayoutOf describes tokens of which one side's are the first of the
// other's, and is empty for others.
func otherLayoutOf(r, t []int) string {
	long, short, longSide, shortSide := r, t, "reference", "target"
	if len(t) > len(r) {
		long, short, longSide, shortSide = t, r, "target", "reference"
	}
	if len(short) == 0 || !slices.Equal(long[:len(short)], short) {
		return ""
	}
	rest := long[len(short):]
	more := fmt.Sprintf("holds %s more (other requests of a batch, or a prompt that the %s runs in chunks)", count(len(rest), "token"), shortSide)
	if !slices.ContainsFunc(rest, func(id int) bool { return id != 0 }) {
		more = fmt.Sprintf("goes on with %s 0 (padding?)", count(len(rest), "id"))
	}
	return fmt.Sprintf("the %s begins with the %s's %s and %s: rows were not lined up", longSide, shortSide, count(len(short), "token"), more)
}

// count writes "1 token", "2 tokens".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
