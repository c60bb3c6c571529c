package partial

import (
	"github.com/ilref/ilref/compare/diagnose"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/topology"
)

// looked knows what the parts have looked up in advance.
type looked struct {
	slots  map[*pairing.Pair]*Slot
	tokens map[*pairing.Call]diagnose.TokenClue // by the call that embeds them
}

func (l looked) RankGaps(p *pairing.Pair) map[string]float64 { return l.slots[p].RankGaps }

// Clue finds what the part knows of a tensor, should the judge have found what
// the part expected.
func (l looked) Clue(c *pairing.Call, p *pairing.Pair, _ *pairing.Tokens, wasClean bool) (diagnose.Clue, bool) {
	for _, x := range l.slots[p].Clues {
		if x.In == c.In.Gap && x.Clean == (wasClean && c.Of.Kind == topology.Attention) {
			return diagnose.Clue{Rule: x.Rule, Hint: x.Hint}, true
		}
	}
	return diagnose.Clue{}, false
}

func (l looked) Tokens(f *pairing.Forward) diagnose.TokenClue {
	return l.tokens[f.Find(pairing.IsEmbedding)]
}
