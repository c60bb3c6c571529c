package requests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/tensor"
)

// rowsOnDisk writes a session of the tokens and positions of some steps.
func rowsOnDisk(t *testing.T, steps []recorded, batches ...string) *il.Session {
	dir := t.TempDir()
	for i, rec := range steps {
		step := filepath.Join(dir, "step_"+string(rune('0'+i)))
		for module, rows := range map[string][]int{"model.embed_tokens": rec.ids, "model.layers.0": rec.positions} {
			require.NoError(t, os.MkdirAll(filepath.Join(step, module), 0o777))
			require.NoError(t, pt.WriteFile(filepath.Join(step, module, "inputs_0_cpu.pt"), tensor.FromInts(tensor.Int64, rows, len(rows))))
		}
		require.NoError(t, os.WriteFile(filepath.Join(step, "module_calls.txt"), []byte("model.embed_tokens\nmodel.layers.0\n"), 0o666))
	}
	if batches != nil {
		require.NoError(t, os.WriteFile(filepath.Join(dir, provenance.BatchesName), []byte(strings.Join(batches, "\n")+"\n"), 0o666))
	}
	s, err := il.Open(dir)
	require.NoError(t, err)
	return s
}

// Two requests of one length whose rows an engine exchanges, and padding that looks
// like a token: what the session says of its requests counts, if it is what was
// recorded.
func TestBatches(t *testing.T) {
	steps := []recorded{
		{ids: []int{1, 5, 9, 1, 6, 8}, positions: []int{0, 1, 2, 0, 1, 2}},
		{ids: []int{7, 4, 3}, positions: []int{3, 3, 0}},
	}
	chunk := func(request, start int, ids ...int) Chunk {
		return Chunk{Request: request, Start: start, IDs: ids, Sample: true}
	}
	first := `{"step": 0, "req_ids": ["a", "b"], "num_tokens": [3, 3], "num_computed": [0, 0]}`
	padding := chunk(-1, 0, 3)
	padding.Sample = false
	for _, c := range []struct {
		name, second, warns string
		want                []Chunk
	}{
		{"nothing is said", "", "", []Chunk{chunk(0, 3, 7), chunk(1, 3, 4), chunk(2, 0, 3)}},
		{"exchanged, with padding", `{"step": 1, "req_ids": ["b", "a"], "num_tokens": [1, 1], "num_computed": [3, 3], "padded_tokens": 3}`, "", []Chunk{chunk(1, 3, 7), chunk(0, 3, 4), padding}},
		{"a third", `{"step": 1, "req_ids": ["b", "a", "c"], "num_tokens": [1, 1, 1], "num_computed": [3, 3, 0]}`, "", []Chunk{chunk(1, 3, 7), chunk(0, 3, 4), chunk(2, 0, 3)}},
		{"other rows", `{"step": 1, "req_ids": ["b", "a"], "num_tokens": [1, 1], "num_computed": [3, 3]}`, "step_1: 2 tokens in 2 rows are said, 3 rows were recorded", nil},
		{"other positions", `{"step": 1, "req_ids": ["b", "a"], "num_tokens": [1, 1], "num_computed": [3, 4], "padded_tokens": 3}`, `step_1: row 1 is said to be position 4 of request "a", position 3 was recorded`, nil},
		{"one twice", `{"step": 1, "req_ids": ["a", "a"], "num_tokens": [1, 1], "num_computed": [3, 3], "padded_tokens": 3}`, `step_1: request "a" stands twice`, nil},
		{"one step alone", `{"step": 5, "req_ids": [], "num_tokens": [], "num_computed": []}`, "says nothing of step_1", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			batches := []string{first, c.second}
			if c.second == "" {
				batches = nil
			}
			s := rowsOnDisk(t, steps, batches...)
			if c.warns == "" {
				require.Empty(t, Contradicted(s))
			} else {
				require.Equal(t, filepath.Join(s.Dir, "batches.jsonl")+": "+c.warns+": requests are told by their positions instead", Contradicted(s))
				c.want = []Chunk{chunk(0, 3, 7), chunk(1, 3, 4), chunk(2, 0, 3)}
			}
			plan, err := Read(s, nil)
			require.NoError(t, err)
			require.Equal(t, []Chunk{chunk(0, 0, 1, 5, 9), chunk(1, 0, 1, 6, 8)}, plan.Steps[0].Chunks)
			require.Equal(t, c.want, plan.Steps[1].Chunks)
			rows, err := Layout(s)
			require.NoError(t, err)
			var requests []int
			for _, x := range c.want {
				requests = append(requests, x.Request)
			}
			require.Equal(t, requests, rows[1].Request)
		})
	}
}

// A request that was preempted and begins anew is one more.
func TestPreempted(t *testing.T) {
	s := rowsOnDisk(t, []recorded{
		{ids: []int{1, 5}, positions: []int{0, 1}},
		{ids: []int{1, 5, 9}, positions: []int{0, 1, 2}},
	}, `{"step": 0, "req_ids": ["a"], "num_tokens": [2], "num_computed": [0]}`, `{"step": 1, "req_ids": ["a"], "num_tokens": [3], "num_computed": [0]}`)
	plan, err := Read(s, nil)
	require.NoError(t, err)
	require.Equal(t, []Chunk{{Request: 1, IDs: []int{1, 5, 9}, Sample: true}}, plan.Steps[1].Chunks)
	require.Zero(t, plan.Steps[0].Chunks[0].Rejected)
}
