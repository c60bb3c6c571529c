package main

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/tensor"
)

// NaN and a damaged recording are never accepted, and never saved: the file
// stays as it is whatever the flags.
func TestBaselineUnfit(t *testing.T) {
	good := fixture.Session(t, "llama3-gqa-bf16")
	tool := func(want int, args ...string) string {
		t.Helper()
		var stdout, stderr strings.Builder
		got := run(context.Background(), append([]string{"baseline"}, args...), &stdout, &stderr)
		require.Equal(t, want, got, "%s%s", stdout.String(), stderr.String())
		return stdout.String() + stderr.String()
	}
	dir := t.TempDir()
	file, other := filepath.Join(dir, "b.json"), filepath.Join(dir, "other.json")
	tool(0, "save", good, "-o", file)
	before, err := os.ReadFile(file)
	require.NoError(t, err)

	for _, c := range []struct {
		name   string
		damage func(path string)
		saved  string
		exit   int
		want   string
	}{
		{"NaN", func(path string) {
			v := make([]float64, 11*64)
			v[70] = math.NaN()
			require.NoError(t, pt.WriteFile(path, tensor.FromFloat64s(tensor.BFloat16, v, 11, 64)))
		}, "is not fit for a baseline: ", 1, "the session is not fit for a baseline: "},
		{"damage", func(path string) {
			require.NoError(t, os.WriteFile(path, []byte("not a tensor"), 0o600))
		}, "is not fit for a baseline: lint errors, ", 3, "the session is not fit for a baseline: lint errors, "},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := filepath.Join(t.TempDir(), "bad")
			require.NoError(t, os.CopyFS(bad, os.DirFS(good)))
			found, err := filepath.Glob(filepath.Join(bad, "step_0", "model.norm", "outputs_0_*.pt"))
			require.NoError(t, err)
			require.Len(t, found, 1)
			require.NoError(t, os.Remove(found[0]))
			c.damage(found[0])
			require.Contains(t, tool(2, "save", bad, "-o", other), c.saved)
			require.NoFileExists(t, other)
			require.Contains(t, tool(c.exit, "accept", file, bad, "--reason", "x", "--despite-gap"), c.want)
			after, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, before, after)
		})
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1) // no temporary file
}

func TestBaselineInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	out := filepath.Join(t.TempDir(), "b.json")
	var stdout, stderr strings.Builder
	require.Equal(t, 130, run(ctx, []string{"baseline", "save", fixture.Session(t, "gopher-1m-bf16"), "-o", out}, &stdout, &stderr))
	require.Equal(t, "ildiff: interrupted\n", stderr.String())
	require.NoFileExists(t, out)
}
