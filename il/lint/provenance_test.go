package lint

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
)

// What a session says of itself is held against what it recorded.
func TestProvenanceRules(t *testing.T) {
	steps := `[{"step": 0, "forward": 0, "tokens": 11, "padded_tokens": 11, "requests": 1}, {"step": 1, "padded_tokens": 1}, {"step": 2, "padded_tokens": 1}]`
	for _, c := range []struct {
		name, record, batches string
		want                  []string // "severity rule: message", in order
	}{
		{"all as it is", `"status": "complete", "model": {"dtype": "bfloat16", "layers": 3, "hidden": 64}, "parallel": {"ranks": [{"label": "cuda:0"}]}, "steps": ` + steps, "", nil},
		{"nothing is said", "", "", nil},
		{"of another model", `"model": {"dtype": "float16", "layers": 2, "hidden": 4096}`, "", []string{
			"warning provenance-dtype: session.json says that the model's dtype is float16, but model.embed_tokens outputs is bfloat16, which counts",
			"warning provenance-hidden: session.json says that hidden states are 4096 wide, but model.embed_tokens outputs is [11,64]: it is of another model",
			"warning provenance-layers: session.json says that the model has 2 layers, but step 0 records model.layers.2: it is of another model",
		}},
		{"other ranks", `"parallel": {"ranks": [{"label": "cuda:1"}, {"label": "cuda:2"}]}`, "", []string{
			"warning provenance-ranks: session.json says that the ranks are cuda:1, cuda:2, but tensors are of cuda:0: files of two runs are mixed",
		}},
		{"a rank without tensors", `"parallel": {"ranks": [{"label": "cuda:0"}, {"label": "cuda:1"}]}`, "", []string{
			"info provenance-ranks: of cuda:1, which session.json names, no tensor is there: the config leaves it out, or its files have gone",
		}},
		{"other steps", `"steps": [{"step": 0, "padded_tokens": 12}, {"step": 1}, {"step": 900000000000}]`, "", []string{
			"warning provenance-steps: session.json does not name step 2, which is recorded: files of two runs are mixed, or the run went on",
			"warning provenance-steps: session.json says that step 900000000000 was recorded (1 in all), and there is no such directory: it has gone, or was not copied",
			"warning provenance-rows: session.json says that step 0 has 12 rows, but there are 11 by model.embed_tokens outputs and 100 more, which count",
		}},
		{"still going", `"status": "recording"`, "", []string{
			"warning unfinished-run: session.json says that it is being recorded: the run is still going, or died: wait for its end, or record again",
		}},
		{"failed", `"status": "failed", "reason": "no room\nleft", "incomplete": {"tensors_lost": 3, "steps_cut": 1, "ranks_stopped": ["cuda:1"]}`, "", []string{
			"error failed-run: session.json says that the recording failed: no room left: record again",
			"error lost-tensors: session.json says that 3 tensors could not be written: record again",
			"warning cut-steps: session.json says that 1 step ended before all of it was recorded: its last tensors are not there",
			"warning stopped-ranks: session.json says that ranks stopped recording: cuda:1: their parts of later steps are not there",
		}},
		{"stopped", `"status": "stopped", "reason": "interrupted"`, "", []string{
			"warning unfinished-run: session.json says that the recording was stopped before its end: interrupted: what it would have recorded then is not there",
		}},
		{"a wrong type", `"model": 7`, "", []string{"warning provenance: DIR/session.json: /model: expected an object, found the number 7: ignored"}},
		{"batches of other rows", "", `{"step": 0, "req_ids": ["a"], "num_tokens": [7], "num_computed": [0]}`, []string{
			"warning provenance-batches: DIR/batches.jsonl: step_0: 7 tokens in 7 rows are said, 11 rows were recorded: requests are told by their positions instead",
		}},
		{"no batches", "", "[]", []string{"warning provenance: DIR/batches.jsonl: line 1: is no JSON object: ignored"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := copyOf(t, plain)
			if c.record != "" {
				e.write("session.json", `{"schema": "il.session.v1", `+c.record+`}`)
			}
			if c.batches != "" {
				e.write("batches.jsonl", c.batches+"\n")
			}
			s, err := il.Open(e.dir)
			require.NoError(t, err)
			r, err := Session(context.Background(), s, Options{})
			require.NoError(t, err)
			var got []string
			for _, f := range r.Findings {
				got = append(got, fmt.Sprintf("%s %s: %s", f.Severity, f.Rule, strings.ReplaceAll(f.Message, e.dir, "DIR")))
			}
			require.Equal(t, c.want, got)
		})
	}
}
