package provenance

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is written is read again, every member of it.
func TestText(t *testing.T) {
	yes, no, one := true, false, 1
	want := &Record{
		Schema: Schema, Status: Stopped, Reason: "r", FirstError: "e", Created: "c", Finished: "f", Writer: Writer{"n", "v", "s"},
		Run:     Run{"id", "rank", &one, "A", &no, "compact", []string{"ForwardBatch"}, map[string]string{"a": "b"}},
		Config:  []byte(`{"log_step_ids":[0]}`),
		Engine:  Engine{"vllm", "0.11.0", "c", "v1", "r", []string{"--x"}},
		Model:   Model{"m", "r", "LlamaForCausalLM", "c", "bfloat16", "fp8", "auto", 2, 3, 4, Rope{"llama3", 5e5, "float32", "s"}, 2, ChoiceBiased},
		Weights: []Weight{{"w", []int{2, 3}, "bfloat16", "00"}}, Parallel: Parallel{2, 1, 1, &one, "true", 1, []Rank{{"cuda:1", 1, 0, "H100", "[9,0]", "570"}}},
		Execution: Execution{&yes, "0", "NONE", 8192, &yes, &no, "eagle", &no, &no, &no, &no, &no, &no, "custom"},
		Kernels: Kernels{
			map[string]Attention{"FLASH_ATTN": {"FlashAttentionImpl", "32", "3"}},
			map[string]map[string]int{"RMSNorm": {"forward_cuda": 3}},
			`{"rms_norm":["vllm_c"]}`,
			map[string]int{"UnquantizedLinearMethod": 4},
			"triton",
		},
		Numerics: Numerics{"highest", &no, "ieee", "true", "false", &yes, &no},
		Versions: map[string]string{"torch": "2"}, Env: map[string]string{"X": "1"},
		Steps: []Step{{1, 2, 3, 4, 5}}, Incomplete: Incomplete{map[string]int{"time": 1}, 2, 3, []string{"cuda:1"}},
		Derived: Derived{Rerun, "s", "c", "d", "r"},
	}
	text, err := want.Text()
	require.NoError(t, err)
	got, warnings, err := Parse("session.json", text)
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.JSONEq(t, string(want.Config), string(got.Config))
	got.Config = want.Config
	require.Equal(t, want, got)
	require.Contains(t, string(text), `"capability": [`, "a value of any type is written as what it is")
}

// One member of another type than is expected costs no other.
func TestWrongTypes(t *testing.T) {
	r, warnings, err := Parse("s", []byte(`{
		"schema": "il.session.v1", "unknown": {"deep": [1]}, "status": "finished",
		"engine": {"name": "vllm", "version": 11, "argv": ["a", 1, "b"]},
		"model": {"layers": -3, "hidden": 2.5, "dtype": null, "rope": []},
		"execution": {"eager": "yes", "lora": true},
		"weights": {"name": "w"}, "config": [], "run": {"logits_lag": 3},
		"env": {"A": "1", "B": 2}
	}`))
	require.NoError(t, err)
	require.Equal(t, Record{
		Schema: Schema, Engine: Engine{Name: "vllm", Argv: []string{"a", "b"}}, Execution: Execution{LoRA: r.Execution.LoRA},
		Env: map[string]string{"A": "1"},
	}, *r)
	require.True(t, *r.Execution.LoRA)
	require.Equal(t, []string{
		`s: /engine/version: expected a string, found the number 11: ignored`,
		`s: /engine/argv/1: expected a string, found the number 1: ignored`,
		`s: /model/hidden: expected a whole number, found the number 2.5: ignored`,
		`s: /model/rope: expected an object, found a list: ignored`,
		`s: /execution/eager: expected true or false, found the string "yes": ignored`,
		`s: 6 more members of other types than expected, ignored`,
	}, warnings)
}

func TestBatches(t *testing.T) {
	got, warnings := ParseBatches("b", []byte(`{"step": 0, "req_ids": ["a", "b"], "num_tokens": [3, 1], "num_computed": [0, 9], "new": 1}
not json
{"step": 1, "req_ids": ["a"], "num_tokens": [3, 1], "num_computed": [0]}
{"step": 2, "req_ids": ["a"], "num_tokens": [3], "num_computed": [0], "padded_tokens": 2}
{"step": 3, "req_ids": [], "num_tokens": [], "num_computed": []}
{"step": 3, "req_ids": [], "num_tokens": [], "num_computed": []}
`))
	require.Equal(t, map[int]*Batch{0: {ReqIDs: []string{"a", "b"}, NumTokens: []int{3, 1}, NumComputed: []int{0, 9}}}, got)
	require.Equal(t, []string{
		"b: line 2: is no JSON object: ignored",
		"b: line 3: has 1 req_ids, 2 num_tokens and 1 num_computed: ignored",
		"b: line 4: has 3 tokens in 2 rows: ignored",
		"b: steps: 1 stand twice: ignored",
	}, warnings)
	require.Equal(t, "mixed", KindOf([]int{3, 1}, []int{0, 9}))
	require.Equal(t, "decode", KindOf([]int{1}, []int{9}))
	require.Equal(t, "prefill", KindOf([]int{1}, []int{0}))
	line, err := (&Batch{Step: 3}).Line()
	require.NoError(t, err)
	require.True(t, json.Valid(line))
	again, warnings := ParseBatches("b", line)
	require.Empty(t, warnings)
	require.Equal(t, 3, again[3].Step)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schema":"il.session.v1","derived":{"what":"replay","session":"00"},"run":{"logits_lag":1},"parallel":{"ranks":[{"label":"cuda:0"}]}}`))
	f.Add([]byte(`{"schema":"il.session.v1","kernels":{"custom_ops":{"RMSNorm":{"forward_cuda":3}}},"config":{},"execution":{"compile_mode":[1,"a"]}}`))
	f.Add([]byte(`{"schema":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, _, err := Parse("s", data)
		if err != nil {
			return
		}
		require.Equal(t, Schema, r.Schema)
		text, err := r.Text()
		require.NoError(t, err)
		again, warnings, err := Parse("s", text)
		require.NoError(t, err)
		require.Empty(t, warnings)
		second, err := again.Text()
		require.NoError(t, err)
		require.Equal(t, string(text), string(second))
	})
}

func FuzzParseBatches(f *testing.F) {
	f.Add([]byte(`{"step":0,"req_ids":["a"],"num_tokens":[3],"num_computed":[0],"padded_tokens":8}` + "\n{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		batches, _ := ParseBatches("b", data)
		for step, b := range batches {
			require.Equal(t, step, b.Step)
			require.GreaterOrEqual(t, step, 0)
			require.Len(t, b.NumTokens, len(b.ReqIDs))
			require.LessOrEqual(t, b.Tokens(), maxRows)
		}
	})
}
