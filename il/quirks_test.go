package il

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseQuirks(t *testing.T) {
	for _, want := range []Quirks{QuirksNone, QuirksVLLM} {
		q, err := ParseQuirks(string(want))
		require.NoError(t, err)
		require.Equal(t, want, q)
	}
	q, err := ParseQuirks("none")
	require.NoError(t, err)
	require.Equal(t, QuirksNone, q)
	_, err = ParseQuirks("vLLM")
	require.EqualError(t, err, `unknown quirks "vLLM": expected "vllm", the bugs of the GPU logger's filter`)
}

// TestQuirksFixture: the whole session that the GPU logger's algorithm left,
// its bug included.
func TestQuirksFixture(t *testing.T) {
	cfg, err := QuirksVLLM.ParseConfig("", []byte(filtered))
	require.NoError(t, err)
	require.Empty(t, cfg.Warnings, "a bug that is reproduced is no difference")
	requireTree(t, tree(t, open(t, "llama3-gqa-bf16-filtered").Dir), tree(t, replay(t, open(t, "llama3-gqa-bf16"), cfg, "").Dir))
}

// TestQuirksVLLM logs two modules, r called four times and n twice. The files
// and the lists are those of the GPU logger's algorithm, run in Python.
func TestQuirksVLLM(t *testing.T) {
	const dropped = " is dropped, as the GPU logger does: what follows the first ':' is no call index"
	all := []string{"r", "r_1", "r_2", "r_3", "n", "n_1"}
	for _, tc := range []struct {
		match    string
		list     []string // module_calls.txt, and the directories with inputs
		outputs  []string // the directories with outputs
		warnings []string
	}{
		{match: `["r:0"]`, list: []string{"r", "r_1"}, outputs: []string{"r"}},
		{match: `["r:1"]`, list: []string{"r_2"}, outputs: []string{"r_1"}},
		{match: `["r:2"]`, list: []string{"r_3"}, outputs: []string{"r_2"}},
		{match: `["r:3"]`, outputs: []string{"r_3"}},
		{match: `["r:4"]`},
		{match: `["r:9999999999999999999999"]`},
		{match: `["r"]`, list: all[:4], outputs: all[:4]},
		{match: `["r:-1"]`, list: all[:4], outputs: all[:4]},
		{match: `["r:-7"]`, list: all[:4], outputs: all[:4]},
		{match: `["r: +0_1 "]`, list: []string{"r_2"}, outputs: []string{"r_1"}},
		{match: `["r:1:x"]`, list: []string{"r_2"}, outputs: []string{"r_1"}},
		{match: `["r:1::("]`, list: []string{"r_2"}, outputs: []string{"r_1"}},
		{match: `[":1"]`, list: []string{"r_2"}, outputs: []string{"r_1", "n_1"}},
		{match: `null`, list: all, outputs: all},
		{match: `[]`, list: all, outputs: all, warnings: []string{"module_call_match is an empty list: every module is logged, as with null"}},
		// Entries that are dropped, some and all.
		{match: `["(?:r)", "n"]`, list: all[4:], outputs: all[4:], warnings: []string{`module_call_match "(?:r)"` + dropped}},
		{
			match: `["(?:r|n):0", "r:", "r:_1", "r:1__0", "r:0x1", "r:- 1"]`, list: all, outputs: all,
			warnings: []string{
				`module_call_match "(?:r|n):0"` + dropped, `module_call_match "r:"` + dropped, `module_call_match "r:_1"` + dropped,
				`module_call_match "r:1__0"` + dropped, `module_call_match "r:0x1"` + dropped, `module_call_match "r:- 1"` + dropped,
				"module_call_match has no entry left: every module is logged",
			},
		},
		// One regex twice: the last index, in the place of the first.
		{match: `["r:0", "r:2"]`, list: []string{"r_3"}, outputs: []string{"r_2"}},
		{match: `["r:2", "r"]`, list: all[:4], outputs: all[:4]},
		{match: `["r:0", "[rn]", "r:1"]`, list: []string{"r_2", "n", "n_1"}, outputs: []string{"r_1", "n", "n_1"}},
		// The first that matches decides.
		{match: `["[rn]:1", "r"]`, list: []string{"r_2"}, outputs: []string{"r_1", "n_1"}},
	} {
		cfg, err := QuirksVLLM.ParseConfig("", []byte(`{"log_step_ids": [1], "module_call_match": `+tc.match+`}`))
		require.NoError(t, err, tc.match)
		require.Equal(t, tc.warnings, cfg.Warnings, tc.match)
		cfg.OutputDir = t.TempDir()
		l, err := NewLogger(cfg, LoggerOptions{})
		require.NoError(t, err)
		for range 3 {
			for _, m := range []string{"r", "r", "r", "r", "n", "n"} {
				l.Pre(m, Tuple{ones(1)})
				l.Post(m, nil, ones(1))
			}
			require.NoError(t, l.StepDone())
		}
		require.NoError(t, l.Close())

		var want []string
		list := ""
		logged := map[string]bool{}
		for _, d := range tc.list {
			want, list = append(want, "step_1/"+d+"/inputs_0_cpu.pt"), list+d+"\n"
			logged[d] = true
		}
		for _, d := range tc.outputs {
			want = append(want, "step_1/"+d+"/outputs_cpu.pt")
			logged[d] = true
		}
		slices.Sort(want)
		require.Equal(t, want, names(t, l.Dir()), tc.match)
		files := tree(t, l.Dir())
		require.Equal(t, list, files[filepath.Join("step_1", callsFile)], tc.match)
		require.Len(t, slices.Collect(maps.Keys(logged)), l.Logged(), tc.match)
	}
}

// TestQuirksErrors: quirks are the filter's alone, and what would be dropped
// because this engine cannot compile it is refused.
func TestQuirksErrors(t *testing.T) {
	_, err := QuirksVLLM.ParseConfig("cfg.json", []byte(`{"module_call_match": ["r", "n(:0"]}`))
	require.EqualError(t, err, `cfg.json:1:29: /module_call_match/1: pattern "n(:0": missing ), unterminated subpattern at position 1`)
	_, err = QuirksVLLM.ParseConfig("cfg.json", []byte(`{"module_call_match": [1]}`))
	require.EqualError(t, err, `cfg.json:1:24: /module_call_match/0: expected a regex, found the number 1`)

	path := filepath.Join(t.TempDir(), "c.json")
	write(t, `{"module_call_match": ["zz", "norm:0", "rm:0"]}`, path)
	cfg, err := QuirksVLLM.LoadConfig(path)
	require.NoError(t, err)
	require.NoError(t, cfg.Check([]string{"model.norm"}))
	require.Equal(t, []string{
		`module_call_match "rm:0" selects nothing: earlier entries decide on all modules that it matches`,
		`module_call_match selects no module of this model with "zz"`,
	}, cfg.Warnings)
	require.True(t, cfg.Selects("model.norm", Inputs, 1))
	require.False(t, cfg.Selects("model.norm", Outputs, 1))
}
