package faults

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/fault-suite.md")

// document holds docs/fault-suite.md to the scores, or writes it.
func (s *scores) document(t *testing.T) {
	doc := s.markdown()
	t.Log("\n" + doc)
	path := filepath.Join("..", "..", "docs", "fault-suite.md")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(doc), 0o644))
		return
	}
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, strings.ReplaceAll(string(old), "\r\n", "\n"), doc, "docs/fault-suite.md is stale: go test ./internal/faults -run TestSuite -update")
}

const preface = `# What ildiff finds

Written by ` + "`go test ./internal/faults -run TestSuite -update`" + `; the same test, without -update, fails where this page is stale.

Each fault is put into the engine from outside and the run compared with one that has none, on the same tokens (a prompt of %d, then
%d by decoding), on gopher-1m, three random models (llama-yarn, qwen3, mistral-window) and gopher-1m with an outlier channel and a massive first
token, of two layers each. A cell counts the models on which the fault is reported as a failure *and* named at the right module and step, of those that can have it.

* **two** — two sessions. The target sums every matrix product in another order, as another kernel does.
* **floor** — also a float64 oracle, and a clean run with the target's rounding points.
* **replay** — also the target's calls computed again from its own recorded inputs.
* **split-K** — the same three on both gopher-1m under the hardest noise there is: two rounded partial sums in every product.
* **hint** — ildiff gives the right likely cause, in how many of the cases that are named.

Faults of mixtures and of other families are in [fault-suite-families.md](fault-suite-families.md).

`

func (s *scores) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, preface, promptLen, newTokens-1)
	cols := columnsOf()
	b.WriteString("## Faults\n\n| fault | at |")
	for _, c := range cols {
		fmt.Fprintf(&b, " %s |", c)
	}
	b.WriteString(" hint |\n|---|---|" + strings.Repeat("---|", len(cols)+1) + "\n")
	for _, f := range All() {
		fmt.Fprintf(&b, "| %s: %s | %s |", f.Name, f.What, f.Where)
		for _, c := range cols {
			fmt.Fprintf(&b, " %s |", s.cell(f.Name, c.String()))
		}
		fmt.Fprintf(&b, " %s |\n", s.hints(f.Name))
	}
	b.WriteString("\n## Differences that are no fault\n\nA cell counts the models on which the comparison passes.\n\n| difference |")
	for _, m := range modes {
		fmt.Fprintf(&b, " %s |", m.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(modes)) + "\n")
	for _, n := range negatives() {
		fmt.Fprintf(&b, "| %s: %s |", n.name, n.what)
		for _, m := range modes {
			fmt.Fprintf(&b, " %s |", s.cell(n.name, m.name))
		}
		b.WriteString("\n")
	}
	if len(exceptions) > 0 {
		b.WriteString("\n## What is not reached\n\n")
	}
	for _, e := range exceptions {
		fmt.Fprintf(&b, "* **%s** (%s): %s\n", e.name, strings.Join(append(e.columns[:len(e.columns):len(e.columns)], e.benches...), "; "), e.why)
	}
	return b.String()
}

// cell is how many of a case's outcomes in a column are right.
func (s *scores) cell(name, column string) string {
	right, n := 0, 0
	for _, o := range s.all {
		if o.name == name && o.column == column {
			n++
			if o.right {
				right++
			}
		}
	}
	switch {
	case n == 0:
		return "–"
	case right == n:
		return fmt.Sprintf("%d/%d", right, n)
	}
	return fmt.Sprintf("**%d/%d**", right, n)
}

func (s *scores) hints(name string) string {
	hints, n := 0, 0
	for _, o := range s.all {
		if o.name == name && o.right {
			n++
			if o.hinted {
				hints++
			}
		}
	}
	return fmt.Sprintf("%d/%d", hints, n)
}
