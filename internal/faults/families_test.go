package faults

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/model/nn"
)

// family is a model with parts that the models of the suite do not have, and what can be
// wrong with these. Each is broken by its own faults alone.
type family struct {
	bench  string
	faults []Fault
	ties   bool // experts are those of the largest scores, which ties can be made of
}

func families() []family {
	mixtral := mixture{block: "model.layers.0.block_sparse_moe", swapped: [2]int{1, 3}, drop: 9}
	qwen2 := mixture{block: "model.layers.0.mlp", shared: true, swapped: [2]int{1, 3}, drop: 9}
	qwen3 := mixture{block: "model.layers.0.mlp", swapped: [2]int{1, 3}, drop: 18}
	deepseek := mixture{block: "model.layers.1.mlp"}
	return []family{
		{"mixtral", append(mixtureFaults(mixtral), notRenormalised(mixtral), beforeRouter(mixtral), onePlus(), softCapped(1)), true},
		{"qwen2moe", sharedFaults(qwen2), true},
		{"qwen3moe-plain", []Fault{softmaxAfter(qwen3)}, true},
		{"deepseek3", slices.Concat(choiceFaults(deepseek), besideFaults(deepseek, 2.5), latentFaults()), false},
		{"glm4moe-groups", []Fault{halfRouter(mixture{block: "model.layers.0.mlp"})}, false},
		{"gptoss", []Fault{droppedSinks("model.layers.0.attn.attn")}, false},
		{"gemma2", append(gemmaFaults(math.Sqrt(32)), capFaults()...), false},
		{"gemma3", []Fault{exchangedRopes()}, false},
		{"granitemoe", []Fault{unscaledEmbedding(1, 3.3)}, false},
		{"llama4", []Fault{rotatedAnyway(1)}, false},
	}
}

// familyExceptions are what is not said right of families.
var familyExceptions []exception

// beforeRouter is a fault that sends tokens to other experts: it stays named where it is.
func beforeRouter(mixture) Fault {
	f := attentionFaults()[0]
	f.Name, f.What = "a fault before a router", "attention's scores are divided by D, and tokens go to other experts"
	return f
}

// familyNegatives are the differences that are none which their models are run with.
func familyNegatives() []negative {
	same := func(ref, target Setting) func(*testing.T, *Bench) (Setting, Setting) {
		return func(*testing.T, *Bench) (Setting, Setting) { return ref, target }
	}
	return []negative{
		{name: "split-K", what: "two rounded partial sums in every matrix product", settings: same(Setting{}, Setting{Order: SplitK})},
		{name: "vllm-2026 rounding", what: "norms, rope and experts' sums rounded otherwise, sums reversed", settings: same(Setting{}, Setting{Round: nn.VLLM2026, Order: Reversed})},
		{name: "a batch", what: "with another request behind it, sums reversed", settings: func(_ *testing.T, b *Bench) (Setting, Setting) {
			return Setting{}, Setting{Plan: b.Batch(0, 1), Order: Reversed}
		}},
		{name: "near ties of a router", what: "two experts have almost the same scores, and the order of summation decides", settings: same(Setting{Inject: closeScores}, Setting{Inject: closeScores, Order: SplitK}), ties: true},
	}
}

// TestFamilies injects the faults of the parts that single families have.
func TestFamilies(t *testing.T) {
	var s scores
	t.Run("models", func(t *testing.T) {
		for _, f := range families() {
			t.Run(f.bench, func(t *testing.T) {
				b := NewBench(t, f.bench)
				for _, x := range f.faults {
					t.Run(x.Name, func(t *testing.T) { s.fault(t, b, x) })
				}
				for _, n := range familyNegatives() {
					if n.ties && !f.ties {
						continue
					}
					t.Run(n.name, func(t *testing.T) { s.negative(t, b, n) })
				}
			})
		}
	})
	if !t.Failed() {
		s.check(t, familyExceptions)
		s.familyDocument(t)
	}
}

const familyPreface = `# What ildiff finds in mixtures and other families

Written by ` + "`go test ./internal/faults -run TestFamilies -update`" + `; the same test, without -update, fails where this page is stale.

The faults of [fault-suite.md](fault-suite.md) are of parts that every model has. These are of parts of single families, each put into a small
random model of one, of two layers. The columns are as there: the verdict of two sessions, with a floor, and with a replay; a model's router tells
which experts its scores choose. Hints that take the model itself, of choices with a bias or groups, are not counted of two sessions.

`

func (s *scores) familyDocument(t *testing.T) {
	var b strings.Builder
	b.WriteString(familyPreface + "| model | fault | at | two | floor | replay | hint |\n|---|---|---|---|---|---|---|\n")
	cell := func(bench, name, column string) string {
		for _, o := range s.all {
			if o.bench == bench && o.name == name && o.column == column {
				if !o.right {
					return "no"
				}
				return "yes"
			}
		}
		return "–"
	}
	for _, f := range families() {
		for _, x := range f.faults {
			n, hinted := 0, 0
			for _, o := range s.all {
				if o.bench == f.bench && o.name == x.Name && o.right && !(x.NeedsModel && o.column == modes[0].name) {
					if n++; o.hinted {
						hinted++
					}
				}
			}
			fmt.Fprintf(&b, "| %s | %s: %s | %s | %s | %s | %s | %d/%d |\n", f.bench, x.Name, x.What, x.Where,
				cell(f.bench, x.Name, "two"), cell(f.bench, x.Name, "floor"), cell(f.bench, x.Name, "replay"), hinted, n)
		}
	}
	b.WriteString("\nDifferences that are no fault, and pass in every column on every one of these models (near ties: where the largest scores choose):\n\n")
	for _, n := range familyNegatives() {
		fmt.Fprintf(&b, "* %s: %s\n", n.name, n.what)
	}
	path := filepath.Join("..", "..", "docs", "fault-suite-families.md")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o644))
		return
	}
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, strings.ReplaceAll(string(old), "\r\n", "\n"), b.String(), "docs/fault-suite-families.md is stale: go test ./internal/faults -run TestFamilies -update")
}
