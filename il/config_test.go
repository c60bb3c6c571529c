package il

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConfigErrors(t *testing.T) {
	const keys = "device_names, enabled, log_post_fwd_inputs, log_step_ids, max_tensor_size, module_call_match, output_dir, reload_input_dir"
	for text, want := range map[string]string{
		"{\n  \"output_dir\": \"x\",\n      \"log_stepids\": [0]}": `3:7: unknown key "log_stepids" at /log_stepids; did you mean "log_step_ids"?`,
		`{"zzzzzzzz": 1}`:                                     `1:2: unknown key "zzzzzzzz" at /zzzzzzzz; the keys are ` + keys,
		`{"Enabled": true}`:                                   `1:2: unknown key "Enabled" at /Enabled; did you mean "enabled"?`,
		`{"enabled": 1}`:                                      `1:13: /enabled: expected true or false, found the number 1`,
		`{"log_post_fwd_inputs": "yes"}`:                      `1:25: /log_post_fwd_inputs: expected true or false, found the string "yes"`,
		`{"enabled": true, "enabled": false}`:                 `1:19: duplicate key "enabled" at /enabled`,
		"{\"log_step_ids\": [\n0,\n -1]}":                     `3:2: /log_step_ids/1: expected a step number from 0 on, found the number -1`,
		`{"log_step_ids": [1.5]}`:                             `1:19: /log_step_ids/0: expected a step number from 0 on, found the number 1.5`,
		`{"log_step_ids": [99999999999999999999]}`:            `1:19: /log_step_ids/0: expected a step number from 0 on, found the number 99999999999999999999`,
		`{"log_step_ids": null}`:                              `1:18: /log_step_ids: expected a list of step numbers, empty for all steps, found null`,
		`{"module_call_match": "layers"}`:                     `1:23: /module_call_match: expected a list of regexes ["…", …], or null for all modules, found the string "layers"`,
		`{"module_call_match": ["a", 7]}`:                     `1:29: /module_call_match/1: expected a regex, found the number 7`,
		`{"module_call_match": ["é", "b("]}`:                  `1:29: /module_call_match/1: pattern "b(": missing ), unterminated subpattern at position 1`,
		`{"module_call_match": ["\\p{L}"]}`:                   `1:24: /module_call_match/0: pattern "\\p{L}": bad escape \p (Python's re has no Unicode classes) at position 0`,
		`{"module_call_match": ["a:-1"]}`:                     `1:24: /module_call_match/0: pattern "a:-1": the call index "-1" is not a number of digits alone; for every call leave it out`,
		`{"module_call_match": ["a: 1"]}`:                     `1:24: /module_call_match/0: pattern "a: 1": the call index " 1" is not a number of digits alone; for every call leave it out`,
		`{"module_call_match": ["a:9999999999999999999999"]}`: `1:24: /module_call_match/0: pattern "a:9999999999999999999999": the call index 9999999999999999999999 is too large`,
		`{"max_tensor_size": -3}`:                             `1:21: /max_tensor_size: expected a number of elements from 0 on, or null for no limit, found the number -3`,
		`{"device_names": ["cuda_0"]}`:                        `1:19: /device_names/0: expected a device as "cuda:0" or "cpu", found "cuda_0"`,
		`{"device_names": {}}`:                                `1:18: /device_names: expected a list of devices as "cuda:0", empty for all devices, found an object`,
		`{"output_dir": ""}`:                                  `1:16: /output_dir: the directory is empty`,
		`{"output_dir": null}`:                                `1:16: /output_dir: expected a directory, found null`,
		`{"reload_input_dir": 3}`:                             `1:22: /reload_input_dir: expected a session directory, or null, found the number 3`,
		`{}{}`:                                                `1:3: text after the end of the configuration`,
		`{} x`:                                                `1:4: invalid JSON: invalid character 'x' at start of value`,
		`{"enabled": tru}`:                                    `1:16: invalid JSON at /enabled: invalid character '}' in literal true (expecting 'e')`,
		`{"enabled"`:                                          `1:11: the JSON ends too early`,
		``:                                                    `1:1: the JSON ends too early`,
		` []`:                                                 `1:2: expected an object with the keys ` + keys,
	} {
		_, err := ParseConfig("cfg.json", []byte(text))
		require.EqualError(t, err, "cfg.json:"+want, "%s", text)
	}
}

func TestConfigDefaults(t *testing.T) {
	c, err := ParseConfig("", []byte("{}"))
	require.NoError(t, err)
	require.Equal(t, DefaultConfig(), c)
	require.Equal(t, "/tmp/vllm_intermediates", c.OutputDir)
	require.True(t, c.Enabled && c.SelectsStep(0) && !c.SelectsStep(1))
	require.True(t, c.Selects("model.norm", Inputs, 3) && c.SelectsDevice("cuda:1"))
	require.Nil(t, c.MaxTensorSize)
}

func TestConfigFields(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"output_dir": "o\/p", "module_call_match": null, "log_step_ids": [], "max_tensor_size": 0,
		"device_names": ["cuda:0", "cpu"], "reload_input_dir": "r", "log_post_fwd_inputs": true, "enabled": false}`), 0o644))
	c, err := LoadConfig(path)
	require.NoError(t, err)
	require.Zero(t, *c.MaxTensorSize)
	require.Equal(t, []string{"o/p", "r"}, []string{c.OutputDir, c.ReloadInputDir})
	require.True(t, c.LogPostFwdInputs)
	require.False(t, c.SelectsStep(0), "not enabled")
	c.Enabled = true
	require.True(t, c.SelectsStep(77), "an empty list is every step")
	require.True(t, c.SelectsDevice("cpu") && c.SelectsDevice("cuda:0"))
	require.False(t, c.SelectsDevice("cuda:1"))

	_, err = LoadConfig(path + "x")
	require.ErrorContains(t, err, "il config: open "+path+"x: no such file")
	_, err = LoadConfig(t.TempDir())
	require.ErrorContains(t, err, "is a directory")
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte(" "), 2<<20), 0o644))
	_, err = LoadConfig(path)
	require.EqualError(t, err, "il config: "+path+" has 2097152 bytes, expected at most 1048576")
}

func TestSelects(t *testing.T) {
	rope, norm := "model.layers.0.self_attn.rotary_emb", "model.norm"
	for _, tc := range []struct {
		match    string
		module   string
		calls    []int // of 0 to 3
		warnings []string
	}{
		{`["layers\\.0\\.(?!.*rotary_emb).*", "rotary_emb:0", "model\\.norm"]`, rope, []int{0}, []string{`module_call_match "rotary_emb:0": the GPU logger also logs the inputs of call 1`}},
		{`["rotary_emb:2"]`, rope, []int{2}, []string{`module_call_match "rotary_emb:2": the GPU logger logs the outputs of call 2 but the inputs of call 3`}},
		{`["rotary", "rotary_emb:2"]`, rope, []int{0, 1, 2, 3}, []string{`module_call_match "rotary_emb:2": the GPU logger logs the outputs of call 2 but the inputs of call 3`}},
		{`["emb:1", "emb:3"]`, rope, []int{1, 3}, []string{
			`module_call_match "emb:1": the GPU logger logs the outputs of call 1 but the inputs of call 2`,
			`module_call_match "emb:3": the GPU logger logs the outputs of call 3 but the inputs of call 4`,
			`module_call_match has "emb:1" and "emb:3": here both hold, the GPU logger takes the last one only`,
		}},
		{`["(?:norm|rope)"]`, norm, []int{0, 1, 2, 3}, []string{`module_call_match "(?:norm|rope)": the GPU logger drops this entry, because of the ':' inside of its regex`}},
		{`["(?i:NORM):1"]`, norm, []int{1}, []string{`module_call_match "(?i:NORM):1": the GPU logger drops this entry, because of the ':' inside of its regex`}},
		{`["norm:1:2"]`, norm, nil, []string{`module_call_match "norm:1:2": the GPU logger splits at the first ':' and takes "norm", call 1`}},
		{`[]`, norm, []int{0, 1, 2, 3}, []string{`module_call_match is an empty list: every module is logged, as with null`}},
		{`["^norm"]`, norm, nil, nil},
		{`["norm", "norm"]`, norm, []int{0, 1, 2, 3}, nil},
	} {
		c, err := ParseConfig("", []byte(`{"module_call_match": `+tc.match+`}`))
		require.NoError(t, err)
		var calls []int
		for i := range 4 {
			require.Equal(t, c.Selects(tc.module, Inputs, i), c.Selects(tc.module, Outputs, i))
			if c.Selects(tc.module, Inputs, i) {
				calls = append(calls, i)
			}
		}
		require.Equal(t, tc.calls, calls, tc.match)
		require.Equal(t, tc.warnings, c.Warnings)
	}
}

func TestCheck(t *testing.T) {
	modules := []string{"model.embed_tokens", "model.layers.0.self_attn.rotary_emb", "model.layers.0.mlp", "model.layers.1.mlp", "model.norm"}
	check := func(match string) (*Config, error) {
		c, err := ParseConfig("", []byte(`{"module_call_match": `+match+`}`))
		require.NoError(t, err)
		c.Warnings = nil
		return c, c.Check(modules)
	}
	_, err := check(`["rotary_embed", "zzzzzzzzz:0"]`)
	require.EqualError(t, err, `il config: module_call_match selects no module of this model: "rotary_embed" (nearest: model.layers.0.self_attn.rotary_emb); "zzzzzzzzz:0"`)

	c, err := check(`["mlp", "layers\\.2\\.mpl", "layers\\.1", "norm"]`)
	require.NoError(t, err)
	require.NoError(t, c.Check(modules))
	require.Equal(t, []string{
		`module_call_match "layers\\.1" selects nothing: earlier entries decide on all modules that it matches`,
		`module_call_match selects no module of this model with "layers\\.2\\.mpl" (nearest: model.layers.0.mlp, model.layers.1.mlp)`,
	}, c.Warnings)

	c, err = check(`["mlp:0", "mlp:1"]`)
	require.NoError(t, err)
	require.Empty(t, c.Warnings)

	c = DefaultConfig()
	require.NoError(t, c.Check(modules))
	c.Enabled = false
	require.EqualError(t, c.Check(modules), `il config: "enabled" is false: nothing would be logged`)
}

// TestSelectGivesUp: a pattern that runs out of time is an error, and never
// reads as a module that is not selected.
func TestSelectGivesUp(t *testing.T) {
	c, err := ParseConfig("", []byte(`{"module_call_match": ["(?:ab|ac)+$"]}`))
	require.NoError(t, err)
	name := strings.Repeat("abac", 1e5) + "."
	_, err = c.Select(name)
	require.ErrorContains(t, err, "too much backtracking")
	require.ErrorContains(t, c.Check([]string{name}), "il config: module_call_match: pattern")
	require.True(t, c.Selects(name, Inputs, 0))
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"output_dir": "/tmp/x", "module_call_match": ["a\\.b:0", "(?:c)"], "log_step_ids": [0, 1], "device_names": ["cuda:0"], "max_tensor_size": null}`))
	f.Add([]byte("{\"enabled\": fals\n,"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, q := range []Quirks{QuirksNone, QuirksVLLM} {
			c, err := q.ParseConfig("cfg.json", data)
			if err != nil {
				require.Regexp(t, `(?s)^cfg\.json:[1-9]\d*:[1-9]\d*: .`, err.Error())
				continue
			}
			regexes := map[string]bool{}
			for _, p := range c.ModuleCallMatch {
				require.NotNil(t, p.re)
				regexes[p.Regex] = true
			}
			if q == QuirksVLLM {
				require.Len(t, regexes, len(c.ModuleCallMatch))
			}
		}
	})
}
