package requests

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPlan reads rows into requests. Each row of want is "request:start:ids",
// with a star where its logits are sampled.
func TestPlan(t *testing.T) {
	type want []Chunk
	for _, tc := range []struct {
		name      string
		histories [][]int
		steps     []recorded
		want      []want
		err       string
	}{
		{
			name: "prefill and decode",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 9}, positions: []int{0, 1, 2}, logits: 1},
				{step: 1, ids: []int{7}, positions: []int{3}, logits: -1},
			},
			want: []want{{{Request: 0, Start: 0, IDs: []int{1, 5, 9}, Sample: true}}, {{Request: 0, Start: 3, IDs: []int{7}, Sample: true}}},
		},
		{
			name: "a batch, each row continuing the request of its length",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 1, 6, 7}, positions: []int{0, 1, 0, 1, 2}, logits: 2},
				{step: 1, ids: []int{8, 9}, positions: []int{3, 2}, logits: 2},
			},
			want: []want{
				{{Request: 0, Start: 0, IDs: []int{1, 5}, Sample: true}, {Request: 1, Start: 0, IDs: []int{1, 6, 7}, Sample: true}},
				{{Request: 1, Start: 3, IDs: []int{8}, Sample: true}, {Request: 0, Start: 2, IDs: []int{9}, Sample: true}},
			},
		},
		{
			name: "two decodes at positions that follow one another",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 1, 6, 7}, positions: []int{0, 1, 0, 1, 2}, logits: 2},
				{step: 1, ids: []int{8, 9}, positions: []int{2, 3}, logits: 2},
			},
			want: []want{
				{{Request: 0, Start: 0, IDs: []int{1, 5}, Sample: true}, {Request: 1, Start: 0, IDs: []int{1, 6, 7}, Sample: true}},
				{{Request: 0, Start: 2, IDs: []int{8}, Sample: true}, {Request: 1, Start: 3, IDs: []int{9}, Sample: true}},
			},
		},
		{
			name: "one chunk that passes the length of another request: the rows of logits decide",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 1, 6, 7}, positions: []int{0, 1, 0, 1, 2}, logits: 2},
				{step: 1, ids: []int{8, 9}, positions: []int{2, 3}, logits: 1},
			},
			want: []want{
				{{Request: 0, Start: 0, IDs: []int{1, 5}, Sample: true}, {Request: 1, Start: 0, IDs: []int{1, 6, 7}, Sample: true}},
				{{Request: 0, Start: 2, IDs: []int{8, 9}, Sample: true}},
			},
		},
		{
			name: "of two requests of a length the one that runs",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 1}, positions: []int{0, 1, 0}, logits: 2},
				{step: 1, ids: []int{6}, positions: []int{1}, logits: 1},
				{step: 2, ids: []int{7}, positions: []int{2}, logits: 1},
			},
			want: []want{
				{{Request: 0, Start: 0, IDs: []int{1, 5}, Sample: true}, {Request: 1, Start: 0, IDs: []int{1}, Sample: true}},
				{{Request: 1, Start: 1, IDs: []int{6}, Sample: true}},
				{{Request: 1, Start: 2, IDs: []int{7}, Sample: true}},
			},
		},
		{
			name: "padding rows at the end",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 0, 0}, positions: []int{0, 1, 0, 0}, logits: 1},
				{step: 1, ids: []int{6, 0}, positions: []int{2, 0}, logits: 1},
			},
			want: []want{
				{{Request: 0, Start: 0, IDs: []int{1, 5}, Sample: true}, {Request: -1, Start: 0, IDs: []int{0}}, {Request: -1, Start: 0, IDs: []int{0}}},
				{{Request: 0, Start: 2, IDs: []int{6}, Sample: true}, {Request: -1, Start: 0, IDs: []int{0}}},
			},
		},
		{
			name: "a prompt of token 0 alone is no padding",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 0}, positions: []int{0, 1, 0}, logits: 2},
				{step: 1, ids: []int{6, 7}, positions: []int{2, 1}, logits: 2},
			},
			want: []want{
				{{Request: 0, Start: 0, IDs: []int{1, 5}, Sample: true}, {Request: 1, Start: 0, IDs: []int{0}, Sample: true}},
				{{Request: 0, Start: 2, IDs: []int{6}, Sample: true}, {Request: 1, Start: 1, IDs: []int{7}, Sample: true}},
			},
		},
		{
			name:  "logits of finished prompts only",
			steps: []recorded{{step: 0, ids: []int{1, 1, 5, 6}, positions: []int{0, 0, 1, 2}, logits: 1}},
			want:  []want{{{Request: 0, Start: 0, IDs: []int{1}, Sample: true}, {Request: 1, Start: 0, IDs: []int{1, 5, 6}}}},
		},
		{
			name:      "a first step above 0 with its history",
			histories: [][]int{{1, 5, 9}},
			steps:     []recorded{{step: 4, ids: []int{7}, positions: []int{3}, logits: 1}},
			want:      []want{{{Request: 0, Start: 3, History: []int{1, 5, 9}, IDs: []int{7}, Sample: true}}},
		},
		{
			name:      "tokens from the history where the session has none",
			histories: [][]int{{1, 5, 9, 7}},
			steps: []recorded{
				{step: 0, positions: []int{0, 1, 2}, logits: 1},
				{step: 1, positions: []int{3}, logits: 1},
			},
			want: []want{{{Request: 0, Start: 0, IDs: []int{1, 5, 9}, Sample: true}}, {{Request: 0, Start: 3, IDs: []int{7}, Sample: true}}},
		},
		{
			name:  "a cached prefix",
			steps: []recorded{{step: 0, ids: []int{7, 8}, positions: []int{16, 17}, logits: 1}},
			err:   "row 0 starts at position 16, but the session does not hold the tokens before it (an earlier step was not logged, or a prefix was cached): give the request's tokens from position 0 with --prompt-ids of ilref run or ilref replay (once a request)",
		},
		{
			name:  "no tokens",
			steps: []recorded{{step: 0, positions: []int{0, 1}, logits: 1}},
			err:   "the session holds no tokens (model.embed_tokens was not logged): give the request's tokens from position 0 with --prompt-ids of ilref run or ilref replay (once a request)",
		},
		{
			name:      "a history without the generated tokens",
			histories: [][]int{{1, 5}},
			steps: []recorded{
				{step: 0, positions: []int{0, 1}, logits: 1},
				{step: 1, positions: []int{2}, logits: 1},
			},
			err: "row 0 is position 2, but a prompt given by --prompt-ids has 2 tokens: give the generated ones too",
		},
		{
			name: "draft tokens, of which the last two are rejected",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 9}, positions: []int{0, 1, 2}, logits: 1},
				{step: 1, ids: []int{7, 8, 6, 2}, positions: []int{3, 4, 5, 6}, logits: 4},
				{step: 2, ids: []int{4, 3}, positions: []int{5, 6}, logits: 2},
				{step: 3, ids: []int{9}, positions: []int{7}, logits: 1},
			},
			want: []want{
				{{Request: 0, Start: 0, IDs: []int{1, 5, 9}, Sample: true}},
				{{Request: 0, Start: 3, IDs: []int{7, 8, 6, 2}, Sample: true, Drafts: 3, Rejected: 2}},
				{{Request: 0, Start: 5, IDs: []int{4, 3}, Sample: true, Drafts: 1}},
				{{Request: 0, Start: 7, IDs: []int{9}, Sample: true}},
			},
		},
		{
			name: "draft tokens that pass the length of another request",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 9, 1, 5, 8, 6}, positions: []int{0, 1, 2, 0, 1, 2, 3}, logits: 2},
				{step: 1, ids: []int{7, 8, 6, 4, 3}, positions: []int{3, 4, 5, 4, 5}, logits: 5},
				{step: 2, ids: []int{2, 6}, positions: []int{4, 6}, logits: 2},
			},
			want: []want{
				{{Request: 0, Start: 0, IDs: []int{1, 5, 9}, Sample: true}, {Request: 1, Start: 0, IDs: []int{1, 5, 8, 6}, Sample: true}},
				{{Request: 0, Start: 3, IDs: []int{7, 8, 6}, Sample: true, Drafts: 2, Rejected: 2}, {Request: 1, Start: 4, IDs: []int{4, 3}, Sample: true, Drafts: 1}},
				{{Request: 0, Start: 4, IDs: []int{2}, Sample: true}, {Request: 1, Start: 6, IDs: []int{6}, Sample: true}},
			},
		},
		{
			name: "draft tokens beside a chunk of a prompt",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 1, 6, 7}, positions: []int{0, 1, 0, 1, 2}, logits: 2},
				{step: 1, ids: []int{7, 8, 2, 3, 4, 5}, positions: []int{2, 3, 3, 4, 5, 6}, logits: 3},
			},
			want: []want{
				{{Request: 0, Start: 0, IDs: []int{1, 5}, Sample: true}, {Request: 1, Start: 0, IDs: []int{1, 6, 7}, Sample: true}},
				{{Request: 0, Start: 2, IDs: []int{7, 8}, Sample: true, Drafts: 1}, {Request: 1, Start: 3, IDs: []int{2, 3, 4, 5}, Sample: true}},
			},
		},
		{
			name: "the same token at the same position again is no draft that was replaced",
			steps: []recorded{
				{step: 0, ids: []int{1, 5}, positions: []int{0, 1}, logits: 1},
				{step: 1, ids: []int{7, 8}, positions: []int{2, 3}, logits: 2},
				{step: 2, ids: []int{8}, positions: []int{3}, logits: 1},
			},
			err: "step_2: row 0 starts at position 3, but the session does not hold the tokens before it",
		},
		{
			name:  "more rows of logits than requests",
			steps: []recorded{{step: 0, ids: []int{1, 5}, positions: []int{0, 1}, logits: 2}},
			err:   "2 rows of logits for 1 requests, which are not those of draft tokens of speculative decoding: prompt logprobs cannot be re-run",
		},
		{
			name:      "a prompt that fits nothing",
			histories: [][]int{{1, 6}},
			steps:     []recorded{{step: 0, ids: []int{1, 5}, positions: []int{0, 1}, logits: 1}},
			err:       "s: prompt 0 given by --prompt-ids fits no request of the session",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			plan, err := newPlan("s", tc.steps, tc.histories, false)
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			require.Len(t, plan.Steps, len(tc.want))
			for i, st := range plan.Steps {
				require.Equal(t, tc.steps[i].step, st.Number)
				require.Equal(t, []Chunk(tc.want[i]), st.Chunks, "step %d", i)
			}
		})
	}
}

// Requests that begin behind a cached prefix have rows, which is not enough to
// run them again.
func TestRowsBehindPrefix(t *testing.T) {
	steps := []recorded{
		{step: 0, ids: []int{1, 5, 7, 8}, positions: []int{0, 1, 16, 17}, logits: 2},
		{step: 1, ids: []int{3, 4}, positions: []int{18, 2}, logits: 2},
	}
	plan, err := newPlan("s", steps, nil, true)
	require.NoError(t, err)
	require.Equal(t, []Chunk{{Request: 0, IDs: []int{1, 5}, Sample: true}, {Request: 1, Start: 16, IDs: []int{7, 8}, Sample: true}}, plan.Steps[0].Chunks)
	require.Equal(t, []Chunk{{Request: 1, Start: 18, IDs: []int{3}, Sample: true}, {Request: 0, Start: 2, IDs: []int{4}, Sample: true}}, plan.Steps[1].Chunks)
	_, err = newPlan("s", steps, nil, false)
	require.EqualError(t, err, "s: step_0: row 2 starts at position 16, but the session does not hold the tokens before it (an earlier step was not logged, or a prefix was cached): give the request's tokens from position 0 with --prompt-ids of ilref run or ilref replay (once a request)")
}

// Of rows that several requests could have run, the rows of logits tell whose they
// are.
func TestLogitsTell(t *testing.T) {
	chunk := func(request, start, drafts, rejected int, ids ...int) Chunk {
		return Chunk{Request: request, Start: start, IDs: ids, Sample: true, Drafts: drafts, Rejected: rejected}
	}
	for _, tc := range []struct {
		name  string
		steps []recorded
		want  [][]Chunk
	}{
		{
			name: "a chunk of a prompt and one of draft tokens, equally long: a later step rejects the drafts",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 1, 6}, positions: []int{0, 1, 0, 1}, logits: 2},
				{step: 1, ids: []int{7, 90, 8, 9}, positions: []int{2, 3, 2, 3}, logits: 3},
				{step: 2, ids: []int{10, 11}, positions: []int{3, 4}, logits: 2},
			},
			want: [][]Chunk{
				{chunk(0, 0, 0, 0, 1, 5), chunk(1, 0, 0, 0, 1, 6)},
				{chunk(0, 2, 1, 1, 7, 90), chunk(1, 2, 0, 0, 8, 9)},
				{chunk(0, 3, 0, 0, 10), chunk(1, 4, 0, 0, 11)},
			},
		},
		{
			name: "a request that begins behind a cached prefix where its neighbour ends",
			steps: []recorded{
				{step: 0, ids: []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, positions: []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}, logits: 1},
				{step: 1, ids: []int{16, 70, 71}, positions: []int{15, 16, 17}, logits: 2},
			},
			want: [][]Chunk{
				{chunk(0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)},
				{chunk(0, 15, 0, 0, 16), chunk(1, 16, 0, 0, 70, 71)},
			},
		},
		{
			name: "draft chunks of two lengths, of which one alone has the rows of logits",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 6, 1}, positions: []int{0, 1, 2, 0}, logits: 2},
				{step: 1, ids: []int{7, 8, 9, 10, 11}, positions: []int{3, 4, 1, 2, 3}, logits: 4},
			},
			want: [][]Chunk{
				{chunk(0, 0, 0, 0, 1, 5, 6), chunk(1, 0, 0, 0, 1)},
				{chunk(0, 3, 0, 0, 7, 8), chunk(1, 1, 2, 0, 9, 10, 11)},
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			plan, err := newPlan("s", tc.steps, nil, true)
			require.NoError(t, err)
			for i, st := range plan.Steps {
				require.Equal(t, tc.want[i], st.Chunks, "step %d", i)
			}
		})
	}
	_, err := newPlan("s", []recorded{{step: 0, ids: make([]int, 20), positions: []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, logits: 2}}, nil, false)
	require.ErrorContains(t, err, "row 16 starts at position 16, but the session does not hold the tokens before it")
}
