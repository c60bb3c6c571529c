package diagnose

import (
	"github.com/ilref/ilref/compare/measure"
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/pairing"
)

// Looker answers what only the tensors tell of a call that failed: for a report
// in words, not for a verdict.
type Looker interface {
	// RankGaps is the rel_l2 of what each rank computed of a tensor.
	RankGaps(p *pairing.Pair) map[string]float64
	// Clue is the likely cause; not ok where it is not known.
	Clue(c *pairing.Call, p *pairing.Pair, rows *pairing.Tokens, wasClean bool) (Clue, bool)
	// Tokens is what the ids of a forward that ran others tell.
	Tokens(f *pairing.Forward) TokenClue
}

// Sessions reads the sessions.
type Sessions struct {
	Notes   *normalize.Notes
	Experts measure.Experts // that routers choose
}

// RankGaps measures each rank.
func (l Sessions) RankGaps(p *pairing.Pair) map[string]float64 { return rankGaps(p, l.Notes) }

// Clue tries the rules on the tensors, those on what ranks hold first.
func (l Sessions) Clue(c *pairing.Call, p *pairing.Pair, rows *pairing.Tokens, wasClean bool) (Clue, bool) {
	if hint := rankHint(c, p, l.Notes); hint != "" {
		return Clue{-1, hint}, true
	}
	return clueOf(c, p, rows, wasClean, l.Experts), true
}

// Tokens compares the token ids themselves.
func (l Sessions) Tokens(f *pairing.Forward) TokenClue { return tokensOf(f) }
