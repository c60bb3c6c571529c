package setup

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il/provenance"
)

// Digests are compared where they are of the same elements.
func TestWeights(t *testing.T) {
	w := func(dtype, sha string, shape ...int) provenance.Weight {
		return provenance.Weight{Name: "w", Shape: shape, DType: dtype, SHA256: sha}
	}
	for _, c := range []struct {
		name  string
		a, b  provenance.Weight
		other bool
	}{
		{"equal", w("bfloat16", "aB", 64, 64), w("bfloat16", "Ab", 64, 64), false},
		{"other", w("bfloat16", "aa", 64, 64), w("bfloat16", "bb", 64, 64), true},
		{"another type", w("bfloat16", "aa", 64, 64), w("float32", "bb", 64, 64), false},
		{"a rank's columns", w("bfloat16", "aa", 4096, 4096), w("bfloat16", "bb", 4096, 2048), false},
		{"a rank's rows", w("bfloat16", "aa", 4096, 4096), w("bfloat16", "bb", 2048, 4096), true},
		{"few of a rank's rows", w("bfloat16", "aa", 64, 64), w("bfloat16", "bb", 32, 64), false},
		{"no digest", w("bfloat16", "", 64, 64), w("bfloat16", "bb", 64, 64), false},
		{"no shape", w("bfloat16", "aa"), w("bfloat16", "bb"), false},
		{"shapes that lie", w("bfloat16", "aa", 1<<62, 1<<62), w("bfloat16", "bb", -1, 1<<62), false},
	} {
		require.Equal(t, c.other, OtherWeights([]provenance.Weight{c.a}, []provenance.Weight{c.b}) != "", c.name)
	}
	require.Empty(t, OtherWeights([]provenance.Weight{w("bfloat16", "aa", 4)}, nil))
}

// What one side alone says is no difference, nor is what engines of two kinds have
// otherwise; no file makes the report long.
func TestDifferences(t *testing.T) {
	yes, no := true, false
	r := &provenance.Record{
		Engine:    provenance.Engine{Name: "vllm", Version: "1"},
		Execution: provenance.Execution{Eager: &yes, LoRA: &no},
		Env:       map[string]string{"A": "1"},
		Parallel:  provenance.Parallel{TP: 2, Ranks: []provenance.Rank{{Label: "cuda:0", Device: "H100"}, {Label: "cuda:1", Device: "H100"}}},
	}
	require.Empty(t, Differences(r, r))
	require.Empty(t, Differences(r, nil))
	require.Empty(t, Differences(r, &provenance.Record{}))
	other := &provenance.Record{
		Engine:    provenance.Engine{Name: "sglang", Version: "1", Commit: "c"},
		Execution: provenance.Execution{Eager: &no},
		Env:       map[string]string{"B": "1"},
		Parallel:  provenance.Parallel{TP: 1, Ranks: []provenance.Rank{{Label: "cuda:0", Device: "MI300X"}}},
	}
	require.Equal(t, []string{
		"the target was run by sglang 1, the reference by vllm 1",
		"other execution: eager false in the target, true in the reference",
		"the target's device is MI300X, the reference's H100",
		"the target's tp is 1, the reference's 2",
	}, report.SetupLines(Differences(r, other)))

	many := &provenance.Record{Engine: r.Engine, Env: map[string]string{}, Versions: map[string]string{"torch": strings.Repeat("9", 1000)}}
	for i := range 5000 {
		many.Env[fmt.Sprintf("V%d", i)] = "x"
	}
	r.Versions = map[string]string{"torch": "2"}
	ds := Differences(r, many)
	require.Len(t, ds, maxDifferences)
	lines := report.SetupLines(ds)
	require.Len(t, lines, 2)
	for _, l := range lines {
		require.Less(t, len(l), 1000)
	}
}
