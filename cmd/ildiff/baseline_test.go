package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/baseline"
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
	file, folder, other := filepath.Join(dir, "b.json"), filepath.Join(dir, "golden"), filepath.Join(dir, "other")
	tool(0, "save", good, "-o", file)
	tool(0, "save", good, "-o", folder, "--keep", "session")
	before := tree(t, dir)

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
		{"unfinished", func(path string) {
			data, err := os.ReadFile(filepath.Join(good, "step_0", "model.norm", filepath.Base(path)))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, data, 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), ".il-00.tmp"), nil, 0o600))
		}, ": left by a run that is still going, or died: .il-00.tmp", 1, "the session is not fit for a baseline: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := filepath.Join(t.TempDir(), "bad")
			require.NoError(t, os.CopyFS(bad, os.DirFS(good)))
			found, err := filepath.Glob(filepath.Join(bad, "step_0", "model.norm", "outputs_0_*.pt"))
			require.NoError(t, err)
			require.Len(t, found, 1)
			require.NoError(t, os.Remove(found[0]))
			c.damage(found[0])
			for _, form := range keptForms {
				require.Contains(t, tool(2, "save", bad, "-o", other, "--keep", form), c.saved)
			}
			for _, to := range []string{file, folder} {
				require.Contains(t, tool(c.exit, "accept", to, bad, "--reason", "x", "--despite-gap"), c.want)
			}
			require.Equal(t, before, tree(t, dir)) // and no temporary file
		})
	}
}

// tree is the paths below dir, and what is in the files.
func tree(t *testing.T, dir string) map[string]string {
	out := map[string]string{}
	root := os.DirFS(dir)
	require.NoError(t, fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			out[path] = "a folder"
			return err
		}
		data, err := fs.ReadFile(root, path)
		out[path] = string(data)
		return err
	}))
	return out
}

// A session that is kept and has changed since is no baseline, and accept does
// not build on it.
func TestBaselineChanged(t *testing.T) {
	good := fixture.Session(t, "llama3-gqa-bf16-filtered")
	folder := filepath.Join(t.TempDir(), "golden")
	tool := func(want int, args ...string) string {
		var stdout, stderr strings.Builder
		require.Equal(t, want, run(context.Background(), append([]string{"baseline"}, args...), &stdout, &stderr), stderr.String())
		require.Empty(t, stdout.String())
		return stderr.String()
	}
	tool(0, "save", good, "-o", folder, "--keep", "session")
	found, err := filepath.Glob(filepath.Join(folder, "session-*", "step_0", "*", "outputs_0_*.pt"))
	require.NoError(t, err)
	data, err := os.ReadFile(found[0])
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(found[0], data, 0o600))
	before := tree(t, folder)
	want := "ildiff: " + folder + ": the kept session is not what was saved: " + found[0] + " has other content: "
	require.True(t, strings.HasPrefix(tool(2, "check", folder, good), want))
	require.True(t, strings.HasPrefix(tool(2, "accept", folder, good, "--reason", "x", "--despite-gap"), want))
	require.Equal(t, before, tree(t, folder))
}

func TestBaselineInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, form := range keptForms {
		dir := t.TempDir()
		var stdout, stderr strings.Builder
		require.Equal(t, 130, run(ctx, []string{"baseline", "save", fixture.Session(t, "gopher-1m-bf16"), "-o", filepath.Join(dir, "b"), "--keep", form}, &stdout, &stderr))
		require.Equal(t, "ildiff: interrupted\n", stderr.String())
		require.Len(t, tree(t, dir), 1, "the folder alone")
	}
}

// Accepts at once come one after the other, and of saves at once one is first.
func TestBaselineAtOnce(t *testing.T) {
	s := fixture.Session(t, "llama3-gqa-bf16-filtered")
	dir := t.TempDir()
	atOnce := func(args func(i int) []string) (codes []int) {
		codes = make([]int, 8)
		var wg sync.WaitGroup
		for i := range codes {
			wg.Go(func() {
				var out, errs bytes.Buffer
				codes[i] = run(context.Background(), args(i), &out, &errs)
			})
		}
		wg.Wait()
		return codes
	}
	for _, keep := range []string{"fingerprint", "session"} {
		path := filepath.Join(dir, keep)
		codes := atOnce(func(i int) []string {
			return []string{"baseline", "save", s, "-o", path, "--keep", keep, "--note", fmt.Sprint("writer ", i)}
		})
		slices.Sort(codes)
		require.Equal(t, []int{0, 2, 2, 2, 2, 2, 2, 2}, codes, keep)
		codes = atOnce(func(i int) []string {
			return []string{"baseline", "accept", path, s, "--reason", fmt.Sprint("reason ", i)}
		})
		require.Equal(t, make([]int, 8), codes, keep)
		file := path
		if keep == "session" {
			file = filepath.Join(path, "baseline.json")
		}
		b, err := baseline.Load(file)
		require.NoError(t, err)
		require.Len(t, b.History, 9, keep)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "nothing is left over")
}
