package compare

import (
	"github.com/ilref/ilref/compare/view"
	"github.com/ilref/ilref/topology"
)

// looker answers what only the tensors tell of a call that failed: for a report
// in words, not for a verdict.
type looker interface {
	// rankGaps is the rel_l2 of what each rank computed of a tensor.
	rankGaps(p *slotPair) map[string]float64
	// clue is the likely cause; not ok where it is not known.
	clue(c *call, p *slotPair, rows *tokens, wasClean bool) (clue, bool)
	// tokenHint is the likely cause of other token ids.
	tokenHint(c *call) string
}

// sessionLooker reads the sessions.
type sessionLooker struct{ notes *view.Notes }

func (l sessionLooker) rankGaps(p *slotPair) map[string]float64 { return rankGaps(p, l.notes) }

func (l sessionLooker) clue(c *call, p *slotPair, rows *tokens, wasClean bool) (clue, bool) {
	return clueOf(c, p, rows, wasClean), true
}

func (l sessionLooker) tokenHint(c *call) string { return tokenHint(tokenInputs(c)) }

// partLooker knows what the parts have looked up in advance.
type partLooker struct {
	slots  map[*slotPair]*partSlot
	tokens map[*call]string
}

func (l partLooker) rankGaps(p *slotPair) map[string]float64 { return l.slots[p].RankGaps }

// clue finds what the part knows of a tensor, should the judge have found what
// the part expected.
func (l partLooker) clue(c *call, p *slotPair, _ *tokens, wasClean bool) (clue, bool) {
	for _, x := range l.slots[p].Clues {
		if x.In == c.in.gap && x.Clean == (wasClean && c.of.Kind == topology.Attention) {
			return clue{x.Rule, x.Hint}, true
		}
	}
	return clue{}, false
}

func (l partLooker) tokenHint(c *call) string { return l.tokens[c] }
