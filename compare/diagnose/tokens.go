package diagnose

import (
	"fmt"
	"slices"

	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/internal/plural"
)

// TokenClue is what token ids that differ tell.
type TokenClue struct {
	Hint    string `json:"hint,omitzero"`
	Sampled bool   `json:"sampled,omitzero"` // those that differ were generated, not given
}

// hint says who has made the ids, by the logits that were computed before them.
func (c TokenClue) hint(before string) string {
	if c.Sampled {
		return before
	}
	return c.Hint
}

// logitsBefore says what chose the tokens that follow some forwards: the sampler,
// unless the logits it was given differ as well.
func logitsBefore(fs []*pairing.Forward) string {
	const sampler = "the sampler (temperature, penalties, seed, a grammar), not the model: this token was generated, and "
	if len(fs) == 0 {
		return ""
	}
	for _, c := range fs[len(fs)-1].Calls {
		for _, p := range c.Slots {
			switch t := p.Result; {
			case t == nil || !pairing.IsLogitsOutput(p.Key):
			case t.Gap.Identical():
				return sampler + "all logits before it agree to the bit"
			case t.Verdict == report.Pass && t.Logits != nil && t.Logits.Agree < t.Logits.Rows:
				return fmt.Sprintf("a near tie that rounding decides: this token was generated, and the logits it was chosen by agree to rel_l2 %s, but not on which is the largest", report.Num(t.Gap.RelL2))
			case t.Verdict == report.Pass:
				return sampler + fmt.Sprintf("the logits it was chosen by agree to rel_l2 %s and have the same largest value", report.Num(t.Gap.RelL2))
			}
		}
	}
	return "a token that was generated, by logits that are not compared: the sampler, or a fault in what is not recorded"
}

// tokensOf compares the token ids of a forward that ran others.
func tokensOf(f *pairing.Forward) TokenClue {
	r, t := pairing.TokenInputs(f.Find(pairing.IsEmbedding))
	if len(r) == 0 || len(t) == 0 {
		return TokenClue{}
	}
	if len(r) == len(t) && f.Rows != nil && len(f.Rows.Position) == len(t) {
		if generated(r, t, f.Rows) {
			return TokenClue{Sampled: true}
		}
		if lo, hi := firstPrompt(r, t, f.Rows); hi > lo {
			r, t = r[lo:hi], t[lo:hi]
		}
	}
	return TokenClue{Hint: promptHint(r, t)}
}

// generated reports whether all ids that differ are the only one of their
// request in the forward, behind others: not those of a prompt.
func generated(r, t []int, rows *pairing.Tokens) bool {
	n := map[int]int{}
	for _, q := range rows.Request {
		n[q]++
	}
	for i := range r {
		if r[i] != t[i] && (rows.Position[i] == 0 || n[rows.Request[i]] > 1) {
			return false
		}
	}
	return true
}

// firstPrompt is the run of rows of the first request whose ids differ.
func firstPrompt(r, t []int, rows *pairing.Tokens) (lo, hi int) {
	i := 0
	for i < len(r) && r[i] == t[i] {
		i++
	}
	if i == len(r) {
		return 0, 0
	}
	for lo = i; lo > 0 && rows.Request[lo-1] == rows.Request[i]; lo-- {
	}
	for hi = i; hi < len(r) && rows.Request[hi] == rows.Request[i]; hi++ {
	}
	return lo, hi
}

// promptHint is the likely cause of other ids of a prompt. The shorter side may
// have been cut to the other's length.
func promptHint(r, t []int) string {
	for _, s := range []struct {
		long, short []int
		more, less  string
	}{{t, r, "target", "reference"}, {r, t, "reference", "target"}} {
		at, n := inserted(s.long, s.short)
		switch {
		case n == 0:
		case n == 1 && at <= 1 && len(s.long) > 1 && s.long[0] == s.long[1]:
			return fmt.Sprintf("BOS twice: the %s's prompt begins with token %d twice, the %s's once, and both go on alike (the chat template adds it, and the tokenizer once more)", s.more, s.long[0], s.less)
		case n == 1 && at == 0:
			return fmt.Sprintf("the BOS token, which one side's tokenizer or chat template adds and the other's does not: but for the first id, %d in the %s, both sides have the same", s.long[0], s.more)
		default:
			return fmt.Sprintf("another text, chat template or tokenizer: the %s has %s more from [%d] on, and both go on alike", s.more, plural.Count(n, "id"), at)
		}
	}
	if len(r) != len(t) {
		return fmt.Sprintf("another text, chat template or tokenizer: %d ids against %d", len(r), len(t))
	}
	n := 0
	for i := range r {
		if r[i] != t[i] {
			n++
		}
	}
	return fmt.Sprintf("another text, chat template or tokenizer: %d of %s differ", n, plural.Count(len(r), "id"))
}

// inserted finds the least n for which long, without n ids from the first that
// differs on, goes on as short does: at least half of it, and 3 ids where short
// was cut. n is 0 where there is none.
func inserted(long, short []int) (at, n int) {
	for at < min(len(long), len(short)) && long[at] == short[at] {
		at++
	}
	for n = 1; n <= len(long)-at; n++ {
		rest := long[at+n:]
		if len(rest) > len(short)-at {
			continue
		}
		whole := len(rest) == len(short)-at
		if slices.Equal(rest, short[at:at+len(rest)]) && (whole || len(rest) >= 3) && 2*len(rest) >= len(short)-at {
			return at, n
		}
	}
	return at, 0
}

// logitsRows is about logits of other rows.
func logitsRows(o *pairing.RowOrigin) string {
	if o.Other() == "" {
		return ""
	}
	which := "others than the last of each request"
	switch n, ok := o.Offset(); {
	case ok && n == -1:
		which = "each the row before the one that belongs"
	case ok && n == 1:
		which = "each the row behind the one that belongs"
	case ok:
		which = fmt.Sprintf("each %+d rows from the one that belongs", n)
	}
	return fmt.Sprintf("the selection of the rows that logits are computed of (query starts, logits indices), not the model: they are rows of %s, but %s", o.Of, which)
}
