package lint

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/fixture"
)

var sessions fixture.Sessions

func TestMain(m *testing.M) { sessions.Main(m) }

func run(t *testing.T, dir string) *Result {
	t.Helper()
	s, err := il.Open(dir)
	require.NoError(t, err)
	r, err := Session(context.Background(), s, Options{})
	require.NoError(t, err)
	return r
}

// What PyTorch recorded is clean: the faults of the fixtures are of the
// model, not of the recording.
func TestFixturesAreClean(t *testing.T) {
	const l = "llama3-gqa-bf16"
	for _, c := range []struct {
		name                       string
		steps, tensors, identities int
		rules                      []string // infos
	}{
		{l, 4, 330, 204, nil},
		{"llama3-gqa-fp32", 4, 330, 204, nil},
		{"llama3-gqa-fp64", 4, 330, 204, nil},
		{l + "-splitk", 4, 330, 204, nil},
		{l + "-chunk4", 6, 550, 340, nil},
		{l + "-batch3", 4, 330, 204, nil},
		{l + "-pad5", 4, 330, 204, nil},
		{l + "-tp2", 4, 660, 408, nil},
		{l + "-filtered", 2, 74, 30, []string{"no-logits", "call-filter"}},
		{l + "-max1000", 1, 145, 53, []string{"no-logits", "skipped-tensors"}},
		{l + "-fault-rope_theta", 4, 330, 204, nil},
		{l + "-fault-kv_swapped", 4, 330, 204, nil},
		{l + "-fault-row_scale", 4, 330, 204, nil},
		{"llama31-rope-bf16", 4, 330, 204, nil},
		{"qwen2-bias-bf16", 4, 330, 204, nil},
		{"olmo2-hf-fp32", 2, 200, 38, nil},
		{"qwen3-hf-fp32", 2, 202, 68, nil},
		{"gopher-1m-bf16", 9, 1160, 728, nil},
		{"gopher-1m-bf16-fault", 9, 1160, 728, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, sessions.Session(t, c.name))
			for _, f := range r.Findings {
				t.Logf("%+v", f)
			}
			t.Logf("%+v", r.Checked)
			require.Zero(t, r.Count(Error)+r.Count(Warning))
			var rules []string
			for _, f := range r.Findings {
				rules = append(rules, f.Rule)
			}
			require.Equal(t, c.rules, rules)
			require.Equal(t, [3]int{c.steps, c.tensors, c.identities}, [3]int{r.Checked.Steps, r.Checked.Tensors, r.Checked.Identities})
			require.Empty(t, Summary(r))
		})
	}
}
