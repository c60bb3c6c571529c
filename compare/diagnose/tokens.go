package diagnose

import (
	"fmt"

	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/internal/plural"
)

// tokenHint is the likely cause of other token ids.
func tokenHint(r, t []int) string {
	switch {
	case len(r) == 0 || len(t) == 0:
		return ""
	case pairing.Shifted(r, t) != "":
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
	return fmt.Sprintf("another text, chat template or tokenizer: %d of %s differ", n, plural.Count(len(r), "id"))
}
