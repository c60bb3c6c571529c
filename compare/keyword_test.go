package compare

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/tensor"
)

// An argument by keyword that one side alone recorded stands outside the coverage, and
// is listed; one of both sides is compared as any other.
func TestKeywordSlots(t *testing.T) {
	withKeyword := func(values ...int) *il.Session {
		dir := filepath.Join(t.TempDir(), "session")
		require.NoError(t, os.CopyFS(dir, os.DirFS(fixture.Session(t, "llama3-gqa-bf16"))))
		if values != nil {
			file := filepath.Join(dir, "step_0", "model.layers.1.self_attn", "inputs_positions_cuda_0.pt")
			require.NoError(t, pt.WriteFile(file, tensor.FromInts(tensor.Int64, values, len(values))))
		}
		s, err := il.Open(dir)
		require.NoError(t, err)
		return s
	}
	without, with, other := withKeyword(), withKeyword(1, 2, 3), withKeyword(1, 2, 4)
	key := report.Key{Step: 0, Module: "model.layers.1.self_attn", Direction: report.Inputs, Slot: "positions"}
	for _, c := range []struct {
		a, b *il.Session
		why  string
	}{
		{without, with, "an argument by keyword, which the target alone recorded"},
		{with, without, "an argument by keyword, which the reference alone recorded"},
	} {
		r, err := Sessions(c.a, c.b, Options{})
		require.NoError(t, err)
		require.Equal(t, report.Pass, r.Verdict)
		require.EqualValues(t, 100, r.Coverage.Percent())
		require.Equal(t, []report.Problem{{Key: key, Why: c.why}}, r.Coverage.Keywords)
		for _, m := range r.Modules {
			require.Equal(t, m.Tensors, m.Compared, m.Name())
		}
	}
	r, err := Sessions(with, with, Options{})
	require.NoError(t, err)
	require.Empty(t, r.Coverage.Keywords)
	require.Equal(t, report.Pass, r.Verdict)
	r, err = Sessions(with, other, Options{})
	require.NoError(t, err)
	require.Equal(t, report.Fail, r.Verdict)
	require.Equal(t, key, r.FirstDivergence.Key)

	// A positional argument of one side alone is missing.
	require.NoError(t, os.Rename(filepath.Join(with.Dir, "step_0", "model.layers.1.self_attn", "inputs_positions_cuda_0.pt"),
		filepath.Join(with.Dir, "step_0", "model.layers.1.self_attn", "inputs_0_cuda_0.pt")))
	with, err = il.Open(with.Dir)
	require.NoError(t, err)
	r, err = Sessions(without, with, Options{})
	require.NoError(t, err)
	require.Equal(t, report.Incomparable, r.Verdict)
}
