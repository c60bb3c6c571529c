package compare

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
)

// asRank copies the files of a call as those of a second rank.
func asRank(t *testing.T, call string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(call, "*_cuda_0.pt"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(f[:len(f)-len("0.pt")]+"1.pt", b, 0o644))
	}
}

// Ranks that all hold the same tensor stand for one.
func TestEqualRanks(t *testing.T) {
	good := open(t, base)
	r := run(t, edited(t, good, func(string) {}), edited(t, good, func(dir string) { asRank(t, filepath.Join(dir, "step_0", "model.norm")) }), Options{})
	require.Equal(t, report.Pass, r.Verdict)
}

// A fault of one rank is named with the rank: where all ranks must hold the
// same, by comparing them, and elsewhere by its part of the whole.
func TestFaultOfOneRank(t *testing.T) {
	good, tp := open(t, base), open(t, base+"-tp2")
	for _, c := range []struct {
		name, file string
		at         string
		why        []string
	}{
		{
			"a replicated output", "step_0/model.layers.1.self_attn.o_proj/outputs_0_cuda_1.pt", "step_0/model.layers.1.self_attn.o_proj/outputs_0",
			[]string{"in the target rank cuda:1 differs from cuda:0, although every rank must hold the same here"},
		},
		{"an input", "step_1/model.layers.0/inputs_1_cuda_1.pt", "step_1/model.layers.0/inputs_1", []string{"rank cuda:1 differs from cuda:0"}},
		{
			"a part of the heads", "step_0/model.layers.1.self_attn.attn/outputs_cuda_1.pt", "step_0/model.layers.1.self_attn.attn/outputs",
			[]string{"outputs do not", "only what rank cuda:1 computed differs so"},
		},
		{
			"packed queries, keys and values", "step_0/model.layers.2.self_attn.qkv_proj/outputs_0_cuda_0.pt", "step_0/model.layers.2.self_attn.qkv_proj/outputs_0",
			[]string{"only what rank cuda:0 computed differs so"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := edited(t, tp, func(dir string) { rewrite(t, filepath.Join(dir, filepath.FromSlash(c.file)), scaled(1.5)) })
			for _, ref := range []*il.Session{edited(t, good, func(string) {}), edited(t, tp, func(string) {})} {
				r := run(t, ref, bad, Options{})
				require.Equal(t, 1, r.ExitCode())
				require.NotNil(t, r.FirstDivergence)
				require.Equal(t, c.at, r.FirstDivergence.String())
				for _, why := range c.why {
					require.Contains(t, r.FirstDivergence.Why, why)
				}
			}
		})
	}
}

// Ranks that have parted stay apart: the first module is named, no other.
func TestRanksStayApart(t *testing.T) {
	good, tp := open(t, base), open(t, base+"-tp2")
	bad := edited(t, tp, func(dir string) {
		for _, f := range []string{"self_attn.o_proj/outputs_0", "self_attn/outputs", "post_attention_layernorm/inputs_0", "mlp/outputs"} {
			rewrite(t, filepath.Join(dir, "step_0", filepath.FromSlash("model.layers.1."+f+"_cuda_1.pt")), scaled(1.5))
		}
	})
	r := run(t, edited(t, good, func(string) {}), bad, Options{})
	require.Equal(t, "step_0/model.layers.1.self_attn.o_proj/outputs_0", r.FirstDivergence.String())
	for _, m := range r.Modules {
		require.Equal(t, m.Module == "model.layers.1.self_attn.o_proj" && m.Step == 0, m.Verdict == report.Fail, m.Module)
	}
}

// A rank that did not write a file is no success.
func TestRankLacksFile(t *testing.T) {
	good, tp := open(t, base), open(t, base+"-tp2")
	bad := edited(t, tp, func(dir string) {
		require.NoError(t, os.Remove(filepath.Join(dir, "step_0", "model.layers.1.self_attn.attn", "outputs_cuda_1.pt")))
	})
	r := run(t, edited(t, good, func(string) {}), bad, Options{})
	require.Equal(t, 3, r.ExitCode())
	require.Len(t, r.Coverage.Unreadable, 1)
	require.Contains(t, r.Coverage.Unreadable[0].Why, "rank cuda:1 wrote no such file, the ranks cuda:0 did")
}
