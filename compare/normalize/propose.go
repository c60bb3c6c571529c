package normalize

import (
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// WriteMap proposes a Map for two sessions: modules of equal names need none;
// nor do transformers' and vLLM's. Of the others those are paired that lie in the same layer and return tensors
// of the same width, the most similar names first and then in order. It is a
// guess to be read and corrected.
func WriteMap(w io.Writer, ref, target *il.Session) error {
	ref, target, _, _ = names(ref, target, false, false)
	m := Map{Version: 1, Modules: propose(ref, target)}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(m)
}

// candidate is a module that needs a partner.
type candidate struct {
	name  string
	layer int
	width int // of its first output, 0 where not known
}

func propose(ref, target *il.Session) []MapRule {
	a, b := unpaired(ref, target), unpaired(target, ref)
	type pair struct{ a, b, score int }
	var pairs []pair
	for i, x := range a {
		for j, y := range b {
			if x.layer == y.layer && x.width == y.width {
				pairs = append(pairs, pair{i, j, similarity(x.name, y.name)})
			}
		}
	}
	slices.SortStableFunc(pairs, func(p, q pair) int { return q.score - p.score })
	partner, taken := map[int]int{}, map[int]bool{}
	for _, p := range pairs {
		if _, done := partner[p.a]; !done && !taken[p.b] {
			partner[p.a], taken[p.b] = p.b, true
		}
	}
	rules := []MapRule{}
	for i, x := range a {
		if j, ok := partner[i]; ok {
			rules = append(rules, MapRule{Reference: x.name, Target: b[j].name})
		}
	}
	return rules
}

// unpaired lists the modules of a session that the other lacks.
func unpaired(s, other *il.Session) []candidate {
	theirs := map[string]bool{}
	for n := range other.Modules() {
		theirs[n] = true
	}
	var out []candidate
	seen := map[string]bool{}
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			if seen[c.Module] || theirs[c.Module] {
				continue
			}
			seen[c.Module] = true
			out = append(out, candidate{c.Module, topology.Locate(c.Module).Layer, outputWidth(c)})
		}
	}
	return out
}

func outputWidth(c *il.Call) int {
	for _, s := range c.Slots {
		if s.Direction == il.Outputs {
			return lastOf(s)
		}
	}
	return 0
}

// similarity counts the letters that the last words of two names share in
// order (their longest common subsequence), twice, less those they do not.
func similarity(a, b string) int {
	a, b = strings.ToLower(topology.LastWord(a)), strings.ToLower(topology.LastWord(b))
	row := make([]int, len(b)+1)
	for i := range len(a) {
		diagonal := 0
		for j := range len(b) {
			above := row[j+1]
			if a[i] == b[j] {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(above, row[j])
			}
			diagonal = above
		}
	}
	return 4*row[len(b)] - len(a) - len(b)
}
