package compare

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/lint"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/internal/fixture"
)

// A session that has the logits in the step of their forward, and says so, pairs with
// one that has them in the next; one that says so and has not is taken as it is.
func TestLogitsOfTheSameStep(t *testing.T) {
	vllm := fixture.Session(t, "llama3-gqa-bf16-batch3")
	ref, err := il.Open(vllm)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "session")
	require.NoError(t, os.CopyFS(dir, os.DirFS(vllm)))
	for n := 1; ; n++ {
		from := filepath.Join(dir, fmt.Sprintf("step_%d", n))
		if _, err := os.Stat(from); err != nil {
			break
		}
		to := filepath.Join(dir, fmt.Sprintf("step_%d", n-1))
		require.NoError(t, os.Rename(filepath.Join(from, "logits_processor"), filepath.Join(to, "logits_processor")))
		left := moveLine(t, "logits_processor", from, to)
		require.NoError(t, os.Remove(filepath.Join(from, "module_calls.txt")))
		if os.Remove(from) == nil {
			break // it held the last logits alone
		}
		require.NoError(t, os.WriteFile(filepath.Join(from, "module_calls.txt"), left, 0o666))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "session.json"), []byte(`{"schema": "il.session.v1", "run": {"logits_lag": 0}}`), 0o666))
	target, err := il.Open(dir)
	require.NoError(t, err)
	require.Empty(t, target.Warnings)
	require.Zero(t, target.LogitsLag())
	for _, pair := range [][2]*il.Session{{ref, target}, {target, ref}, {target, target}} {
		r, err := Sessions(pair[0], pair[1], Options{})
		require.NoError(t, err)
		require.Equal(t, report.Pass, r.Verdict)
		require.EqualValues(t, 100, r.Coverage.Percent())
		require.Equal(t, len(r.Tensors), r.Coverage.Compared)
		require.Equal(t, "logits_processor", r.Modules[len(r.Modules)-1].Module)
	}
	a, err := requests.Read(ref, nil)
	require.NoError(t, err)
	b, err := requests.Read(target, nil)
	require.NoError(t, err)
	require.Equal(t, a.Steps, b.Steps)
	found, err := lint.Session(context.Background(), target, lint.Options{})
	require.NoError(t, err)
	require.Zero(t, found.Count(lint.Error)+found.Count(lint.Warning), found.Findings)

	// A lie: the order of the calls tells.
	require.NoError(t, os.CopyFS(filepath.Join(dir, "lie"), os.DirFS(vllm)))
	require.NoError(t, os.Rename(filepath.Join(dir, "session.json"), filepath.Join(dir, "lie", "session.json")))
	lie, err := il.Open(filepath.Join(dir, "lie"))
	require.NoError(t, err)
	require.Len(t, lie.Warnings, 1)
	r, err := Sessions(ref, lie, Options{})
	require.NoError(t, err)
	require.Equal(t, report.Pass, r.Verdict)
	require.EqualValues(t, 100, r.Coverage.Percent())
}

// moveLine puts a call of one step's list at the end of another's, and returns what is
// left of the first.
func moveLine(t *testing.T, call, from, to string) []byte {
	list, err := os.ReadFile(filepath.Join(from, "module_calls.txt"))
	require.NoError(t, err)
	before, err := os.ReadFile(filepath.Join(to, "module_calls.txt"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(to, "module_calls.txt"), append(before, call+"\n"...), 0o666))
	return bytes.Replace(list, []byte(call+"\n"), nil, 1)
}
