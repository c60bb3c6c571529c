package pairing

import (
	"fmt"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// BatchMatch says whether a forward did the same work in both sessions.
type BatchMatch int

const (
	SameWork        BatchMatch = iota // the same tokens, or nothing that tells otherwise
	OtherTokens                       // the tokens part here, for the first time
	otherLayout                       // one side's tokens are the first of the other's: chunks, padding, a batch
	HistoryDiverged                   // earlier forwards of the same requests did other work
)

// maxTokens bounds what is read of a token tensor; no step has more.
const maxTokens = 1 << 24

// Workloads finds the forwards that the two sessions did not run on the same
// tokens. Keys and values of the tokens before are an input that no call
// records, so from such a forward on nothing can be judged, until one starts
// all of its requests anew (every position run begins at 0).
func Workloads(fs []*Forward) {
	lost, parted := false, false // parted: the tokens differ, and no selected forward has said so yet
	for _, f := range fs {
		r, t := TokenInputs(f.Find(IsEmbedding))
		f.OtherLength = len(r) != len(t)
		switch {
		case !f.inBoth(): // everything in it is missing on one side
		case r == nil || t == nil: // not recorded: nothing new is known
			if lost {
				f.Work, f.Why = HistoryDiverged, "its tokens are not recorded, and those before differ"
			} else if why := otherRowCount(f); why != "" {
				lost, f.Work, f.Why = true, otherLayout, why
			}
		case slices.Equal(r, t):
			if lost = lost && !f.startsAnew(); lost {
				f.Work, f.Why = HistoryDiverged, "its tokens agree, but those before do not"
			}
		case lost && !parted:
			f.Work, f.Why = HistoryDiverged, "other tokens: "+differingTokens(r, t)
		default:
			lost, parted = true, true
			f.Work, f.Why = OtherTokens, "token ids differ: "+differingTokens(r, t)
			if layout := otherLayoutOf(r, t); layout != "" {
				f.Work, f.Why = otherLayout, layout
			}
		}
		parted = parted && !f.Selected()
	}
}

// otherRowCount tells by the shapes of a forward that its sides ran other tokens:
// the first call with rows of both. "" where they have as many.
func otherRowCount(f *Forward) string {
	for _, c := range f.Calls {
		if c.Of.Kind.IsHead() {
			continue // of the sampled rows alone
		}
		r, t := rowsOfCall(c.Ref), rowsOfCall(c.Target)
		if r > 0 && t > 0 {
			if r == t {
				return ""
			}
			return fmt.Sprintf("%s of tokens in the reference, %s in the target (another prompt, chunks or a batch; embed_tokens, which would tell, is not recorded)",
				plural.Count(r, "row"), plural.Count(t, "row"))
		}
	}
	return ""
}

// rowsOfCall is the number of rows of what a call takes or returns, 0 where that
// is not known.
func rowsOfCall(c *il.Call) int {
	if c == nil {
		return 0
	}
	n := 0
	for _, s := range c.Slots {
		if len(s.Tensors) == 0 || n > 0 {
			continue
		}
		_ = s.Tensors[0].With(func(t *tensor.Tensor) error {
			if len(t.Shape) == 2 && !t.DType.IsInt() {
				n = t.Shape[0]
			}
			return nil
		})
	}
	return n
}

// IsEmbedding reports whether a call looks up the tokens of a forward.
func IsEmbedding(c *Call) bool { return c.Of.Kind == topology.Embedding && c.Index == 0 }

// Selected reports whether any tensor of the forward is to be compared.
func (f *Forward) Selected() bool {
	return f.Find(func(c *Call) bool { return len(c.Slots) > 0 }) != nil
}

// inBoth reports whether both sessions made any call of the forward.
func (f *Forward) inBoth() bool {
	return f.Find(func(c *Call) bool { return c.Ref != nil && c.Target != nil }) != nil
}

// Find is the first call that matches, nil for none.
func (f *Forward) Find(match func(*Call) bool) *Call {
	if i := slices.IndexFunc(f.Calls, match); i >= 0 {
		return f.Calls[i]
	}
	return nil
}

// startsAnew reports whether every request of the forward begins at position 0,
// by the reference's positions.
func (f *Forward) startsAnew() bool {
	c := f.Find(func(c *Call) bool {
		pos, _ := TokenInputs(c)
		return pos != nil && c.Of.Kind != topology.Embedding
	})
	pos, other := TokenInputs(c)
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

// TokenInputs reads input 0 of a call on both sides, where it is an integer
// tensor: token ids or positions.
func TokenInputs(c *Call) (ref, target []int) {
	if c == nil {
		return nil, nil
	}
	return tokenInput(c.Ref), tokenInput(c.Target)
}

// tokenInput gives nil for what cannot be read; measuring reports it.
func tokenInput(c *il.Call) []int {
	if c == nil {
		return nil
	}
	f := FindSlot(c, il.Inputs, "0")
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
		return fmt.Sprintf("%s in the reference, %s in the target", plural.Count(len(r), "id"), plural.Count(len(t), "id")) + Shifted(r, t)
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

// Shifted recognises a first token (BOS) that one tokenizer added.
func Shifted(r, t []int) string {
	switch {
	case len(r) > 0 && slices.Equal(r[1:], t):
		return fmt.Sprintf(", which lacks only the first, %d (a BOS token?)", r[0])
	case len(t) > 0 && slices.Equal(t[1:], r):
		return fmt.Sprintf(", which has %d before the others (a BOS token?)", t[0])
	}
	return ""
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
	more := fmt.Sprintf("holds %s more (other requests of a batch, or a prompt that the %s runs in chunks)", plural.Count(len(rest), "token"), shortSide)
	if !slices.ContainsFunc(rest, func(id int) bool { return id != 0 }) {
		more = fmt.Sprintf("goes on with %s 0 (padding?)", plural.Count(len(rest), "id"))
	}
	return fmt.Sprintf("the %s begins with the %s's %s and %s: rows were not lined up", longSide, shortSide, plural.Count(len(short), "token"), more)
}
