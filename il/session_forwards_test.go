package il

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A step of several forwards becomes a step for each, where its list of calls tells them apart: with
// the logits in the step after, calls of shared modules counted anew, and other steps as they are.
func TestSplitForwards(t *testing.T) {
	const forward = "model.embed_tokens model.layers.0 model.layers.0.self_attn.rotary_emb model.layers.1 model.layers.0.self_attn.rotary_emb_1 model.norm logits_processor"
	for _, c := range []struct {
		name  string
		steps map[string]string // calls of the steps that are written
		want  []string
	}{
		{
			"two forwards",
			map[string]string{"step_0": "model.embed_tokens model.layers.0 model.layers.0.self_attn.rotary_emb model.layers.1 model.layers.0.self_attn.rotary_emb_1 logits_processor " +
				"model.embed_tokens_1 model.layers.0_1 model.layers.0.self_attn.rotary_emb_2 model.layers.1_1 model.layers.0.self_attn.rotary_emb_3 logits_processor_1"},
			[]string{
				"0: model.embed_tokens model.layers.0 model.layers.0.self_attn.rotary_emb model.layers.1 model.layers.0.self_attn.rotary_emb_1",
				"1: logits_processor model.embed_tokens model.layers.0 model.layers.0.self_attn.rotary_emb model.layers.1 model.layers.0.self_attn.rotary_emb_1",
				"2: logits_processor",
			},
		},
		{
			"a layer alone",
			map[string]string{"step_0": "model.layers.1 model.layers.1.mlp model.layers.1_1 model.layers.1.mlp_1"},
			[]string{"0: model.layers.1 model.layers.1.mlp", "1: model.layers.1 model.layers.1.mlp"},
		},
		{"one forward", map[string]string{"step_0": forward}, []string{"0: " + forward}},
		{
			"the next number is taken",
			map[string]string{"step_0": "model.embed_tokens model.embed_tokens_1", "step_1": "model.embed_tokens"},
			[]string{"0: model.embed_tokens model.embed_tokens_1", "1: model.embed_tokens"},
		},
		{
			"a module again within a forward",
			map[string]string{"step_0": "model.embed_tokens model.norm model.norm_1 model.embed_tokens_1"},
			[]string{"0: model.embed_tokens model.norm model.norm_1 model.embed_tokens_1"},
		},
	} {
		dir := t.TempDir()
		for step, calls := range c.steps {
			names := strings.Fields(calls)
			write(t, strings.Join(names, "\n")+"\n", dir, step, callsFile)
			for _, n := range names {
				write(t, "{}", dir, step, n, "inputs.json")
			}
		}
		s, err := Open(dir)
		require.NoError(t, err)
		var got []string
		for _, st := range s.Steps {
			line := stepText(st.Number)
			for _, call := range st.Calls {
				line += " " + CallName(call.Module, call.Index)
				require.Same(t, call, s.Call(st.Number, call.Module, call.Index))
			}
			got = append(got, line)
		}
		require.Equal(t, c.want, got, c.name)
	}
}

func stepText(n int) string { return string(rune('0'+n)) + ":" }
