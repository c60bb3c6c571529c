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
			want: []want{{{0, 0, nil, []int{1, 5, 9}, true}}, {{0, 3, nil, []int{7}, true}}},
		},
		{
			name: "a batch, each row continuing the request of its length",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 1, 6, 7}, positions: []int{0, 1, 0, 1, 2}, logits: 2},
				{step: 1, ids: []int{8, 9}, positions: []int{3, 2}, logits: 2},
			},
			want: []want{
				{{0, 0, nil, []int{1, 5}, true}, {1, 0, nil, []int{1, 6, 7}, true}},
				{{1, 3, nil, []int{8}, true}, {0, 2, nil, []int{9}, true}},
			},
		},
		{
			name: "two decodes at positions that follow one another",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 1, 6, 7}, positions: []int{0, 1, 0, 1, 2}, logits: 2},
				{step: 1, ids: []int{8, 9}, positions: []int{2, 3}, logits: 2},
			},
			want: []want{
				{{0, 0, nil, []int{1, 5}, true}, {1, 0, nil, []int{1, 6, 7}, true}},
				{{0, 2, nil, []int{8}, true}, {1, 3, nil, []int{9}, true}},
			},
		},
		{
			name: "one chunk that passes the length of another request: the rows of logits decide",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 1, 6, 7}, positions: []int{0, 1, 0, 1, 2}, logits: 2},
				{step: 1, ids: []int{8, 9}, positions: []int{2, 3}, logits: 1},
			},
			want: []want{
				{{0, 0, nil, []int{1, 5}, true}, {1, 0, nil, []int{1, 6, 7}, true}},
				{{0, 2, nil, []int{8, 9}, true}},
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
				{{0, 0, nil, []int{1, 5}, true}, {1, 0, nil, []int{1}, true}},
				{{1, 1, nil, []int{6}, true}},
				{{1, 2, nil, []int{7}, true}},
			},
		},
		{
			name: "padding rows at the end",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 0, 0}, positions: []int{0, 1, 0, 0}, logits: 1},
				{step: 1, ids: []int{6, 0}, positions: []int{2, 0}, logits: 1},
			},
			want: []want{
				{{0, 0, nil, []int{1, 5}, true}, {-1, 0, nil, []int{0}, false}, {-1, 0, nil, []int{0}, false}},
				{{0, 2, nil, []int{6}, true}, {-1, 0, nil, []int{0}, false}},
			},
		},
		{
			name: "a prompt of token 0 alone is no padding",
			steps: []recorded{
				{step: 0, ids: []int{1, 5, 0}, positions: []int{0, 1, 0}, logits: 2},
				{step: 1, ids: []int{6, 7}, positions: []int{2, 1}, logits: 2},
			},
			want: []want{
				{{0, 0, nil, []int{1, 5}, true}, {1, 0, nil, []int{0}, true}},
				{{0, 2, nil, []int{6}, true}, {1, 1, nil, []int{7}, true}},
			},
		},
		{
			name:  "logits of finished prompts only",
			steps: []recorded{{step: 0, ids: []int{1, 1, 5, 6}, positions: []int{0, 0, 1, 2}, logits: 1}},
			want:  []want{{{0, 0, nil, []int{1}, true}, {1, 0, nil, []int{1, 5, 6}, false}}},
		},
		{
			name:      "a first step above 0 with its history",
			histories: [][]int{{1, 5, 9}},
			steps:     []recorded{{step: 4, ids: []int{7}, positions: []int{3}, logits: 1}},
			want:      []want{{{0, 3, []int{1, 5, 9}, []int{7}, true}}},
		},
		{
			name:      "tokens from the history where the session has none",
			histories: [][]int{{1, 5, 9, 7}},
			steps: []recorded{
				{step: 0, positions: []int{0, 1, 2}, logits: 1},
				{step: 1, positions: []int{3}, logits: 1},
			},
			want: []want{{{0, 0, nil, []int{1, 5, 9}, true}}, {{0, 3, nil, []int{7}, true}}},
		},
		{
			name:  "a cached prefix",
			steps: []recorded{{step: 0, ids: []int{7, 8}, positions: []int{16, 17}, logits: 1}},
			err:   "row 0 starts at position 16, but the session does not hold the tokens before it (an earlier step was not logged, or a prefix was cached): give the request's tokens from position 0 with --prompt-ids (once a request)",
		},
		{
			name:  "no tokens",
			steps: []recorded{{step: 0, positions: []int{0, 1}, logits: 1}},
			err:   "the session holds no tokens (model.embed_tokens was not logged): give the request's tokens from position 0 with --prompt-ids (once a request)",
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
			name:  "more rows of logits than requests",
			steps: []recorded{{step: 0, ids: []int{1, 5}, positions: []int{0, 1}, logits: 2}},
			err:   "2 rows of logits for 1 requests: prompt logprobs and speculative decoding cannot be re-run",
		},
		{
			name:      "a prompt that fits nothing",
			histories: [][]int{{1, 6}},
			steps:     []recorded{{step: 0, ids: []int{1, 5}, positions: []int{0, 1}, logits: 1}},
			err:       "s: prompt 0 given by --prompt-ids fits no request of the session",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			plan, err := newPlan("s", tc.steps, tc.histories)
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
