package compare

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/render"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/tensor"
)

// file is a tensor file of a step, named without its device.
func file(dir, step, name string) string {
	return filepath.Join(dir, step, filepath.FromSlash(name)+"_cuda_0.pt")
}

// cut replaces a file by its first bytes.
func cut(t *testing.T, path string, n int) {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, b[:n], 0o644))
}

// What a change of single files of a good session is taken for.
func TestNamed(t *testing.T) {
	good := open(t, base)
	ref := edited(t, good, func(string) {})
	const l1 = "model.layers.1"
	for _, c := range []struct {
		name   string
		change map[string]func([]float64) // of step 0
		at     string                     // "" passes
		why    string
	}{
		{
			"a leaf",
			map[string]func([]float64){l1 + ".mlp.act_fn/outputs": scaled(1.02)},
			l1 + ".mlp.act_fn/outputs",
			"inputs agree to the bit, outputs do not: rel_l2 2.0e-02",
		},
		{
			"a container, its children untouched",
			map[string]func([]float64){l1 + ".mlp/outputs": noisy(4e-3)},
			l1 + ".mlp/outputs",
			"its children agree to the bit, but its output equals that of model.layers.1.mlp.down_proj in the reference only, not in the target: rel_l2 ",
		},
		{
			"a layer's residual",
			map[string]func([]float64){l1 + "/outputs_1": scaled(1.5)},
			l1 + "/outputs_1",
			"its output equals that of model.layers.1.post_attention_layernorm in the reference only",
		},
		{
			"attention as a whole",
			map[string]func([]float64){"model.layers.2.self_attn/outputs": noisy(2e-2)},
			"model.layers.2.self_attn/outputs",
			"its output equals that of model.layers.2.self_attn.o_proj in the reference only",
		},
		{
			"a norm within the noise, but with equal inputs",
			map[string]func([]float64){l1 + ".input_layernorm/outputs_0": scaled(1.0035)},
			l1 + ".input_layernorm/outputs_0",
			"inputs are equal to the bit, but only ",
		},
		{"a handful of last places of a norm", map[string]func([]float64){l1 + ".input_layernorm/outputs_0": func(v []float64) {
			v[3] *= 1.005
			v[99] *= 1.005
		}}, "", ""},
		{"noise of a linear module", map[string]func([]float64){l1 + ".self_attn.qkv_proj/outputs_0": noisy(4e-3)}, "", ""},
		{
			"an embedding that is no copy of its rows",
			map[string]func([]float64){"model.embed_tokens/outputs": func(v []float64) { v[5] *= 1.01 }},
			"model.embed_tokens/outputs",
			"token ids are equal, but the rows looked up are not: rel_l2 ",
		},
		{
			"NaN from nowhere",
			map[string]func([]float64){l1 + ".self_attn.attn/outputs": func(v []float64) { v[70] = nan }},
			l1 + ".self_attn.attn/outputs",
			"its inputs are finite where they should be, its output is not: 1 place where NaN or an infinity meets another value, the first at [1,6] (",
		},
		{
			"infinity that goes on",
			map[string]func([]float64){l1 + ".mlp.gate_up_proj/outputs_0": func(v []float64) { v[0] = inf }, l1 + ".mlp.act_fn/inputs_0": func(v []float64) { v[0] = inf }, l1 + ".mlp.act_fn/outputs": func(v []float64) { v[0] = nan }},
			l1 + ".mlp.gate_up_proj/outputs_0",
			"infinities: 0 and 1",
		},
		{
			"positions",
			map[string]func([]float64){"model.layers.0/inputs_0": func(v []float64) { v[10] = 11 }, "model.layers.0.self_attn.rotary_emb/inputs_0": func(v []float64) { v[10] = 11 }, "model.layers.0.self_attn.rotary_emb/outputs_0": scaled(1.2)},
			"model.layers.0/inputs_0",
			"positions differ: 1 of 11, most at [10] (10 in the reference, 11 in the target)",
		},
		{
			"an input that nothing recorded explains",
			map[string]func([]float64){"model.norm/inputs_0": scaled(1.1)},
			"model.norm/inputs_0",
			"is output 0 of model.layers.2 to the bit in the reference, but not in the target: rel_l2 1.0e-01",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := edited(t, good, func(dir string) {
				for name, f := range c.change {
					rewrite(t, file(dir, "step_0", name), f)
				}
			})
			r := run(t, ref, target, Options{})
			if c.at == "" {
				require.Equal(t, report.Pass, r.Verdict)
				require.Nil(t, r.FirstDivergence)
				return
			}
			require.Equal(t, report.Fail, r.Verdict)
			require.Equal(t, "step_0/"+c.at, r.FirstDivergence.String())
			require.Contains(t, r.FirstDivergence.Why, c.why)
			module, _, _ := strings.Cut(c.at, "/")
			for _, m := range r.Modules {
				require.Equal(t, m.Verdict == report.Fail, m.Step == 0 && m.Name() == module, "%s is %s: %s", m.Name(), m.Verdict, m.Why)
			}
			back := run(t, target, ref, Options{}) // whichever side is wrong
			require.Equal(t, "step_0/"+c.at, back.FirstDivergence.String())
		})
	}
}

// In one row of 64 values a handful of unequal bits proves nothing.
func TestHandful(t *testing.T) {
	good := open(t, base)
	ref := edited(t, good, func(string) {})
	for n, want := range map[int]report.Verdict{4: report.Pass, 5: report.Fail} {
		r := run(t, ref, edited(t, good, func(dir string) {
			rewrite(t, file(dir, "step_1", "model.layers.1.input_layernorm/outputs_0"), func(v []float64) { scaled(1.02)(v[:n]) })
		}), Options{})
		require.Equal(t, want, r.Verdict, "%d values: %v", n, r.FirstDivergence)
	}
}

// NaN at the same places of both sides is no gap; the report says so.
func TestNaNOnBothSides(t *testing.T) {
	good := open(t, base)
	change := func(dir string) {
		rewrite(t, file(dir, "step_0", "model.layers.2.mlp.down_proj/outputs_0"), func(v []float64) { v[9] = nan })
		rewrite(t, file(dir, "step_0", "model.layers.2.mlp/outputs"), func(v []float64) { v[9] = nan })
		rewrite(t, file(dir, "step_0", "model.layers.2/outputs_0"), func(v []float64) { v[9] = nan })
	}
	r := run(t, edited(t, good, change), edited(t, good, change), Options{})
	require.Equal(t, report.Pass, r.Verdict)
	require.Contains(t, text(t, r, render.TextOptions{}), "NaN on both sides in 3 tensors, first in step_0/model.layers.2/outputs_0.\n")
}

// Attention of a later step reads the keys and values of the earlier ones: a
// gap in those is no fault of the later call.
func TestKeyValueHistory(t *testing.T) {
	good := open(t, base)
	r := run(t, edited(t, good, func(string) {}), edited(t, good, func(dir string) {
		rewrite(t, file(dir, "step_0", "model.layers.1.self_attn.attn/inputs_1"), noisy(0.1))
		rewrite(t, file(dir, "step_1", "model.layers.1.self_attn.attn/outputs"), noisy(0.1))
	}), Options{})
	require.Equal(t, "step_0/model.layers.1.self_attn.attn/inputs_1", r.FirstDivergence.String())
	for _, m := range r.Modules {
		if m.Step == 1 && m.Module == "model.layers.1.self_attn.attn" {
			require.Equal(t, report.Inherited, m.Verdict)
		}
	}
}

// What is missing, skipped or unreadable is counted, listed by name, and keeps
// the comparison from passing.
func TestNotCompared(t *testing.T) {
	good := open(t, base)
	ref := edited(t, good, func(string) {})
	const act = "model.layers.1.mlp.act_fn"
	total := run(t, ref, ref, Options{}).Coverage.Compared
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir string)
		check  func(t *testing.T, c *report.Coverage)
		text   string
	}{
		{"a file is missing", func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(file(dir, "step_0", act+"/outputs")))
		}, func(t *testing.T, c *report.Coverage) {
			require.Equal(t, []report.Key{{Step: 0, Module: act, Call: 0, Direction: report.Outputs, Slot: ""}}, c.MissingInTarget)
		}, "Missing in the target:\n  step_0/" + act + "/outputs\n"},
		{"a file is cut short", func(t *testing.T, dir string) {
			cut(t, file(dir, "step_0", act+"/outputs"), 700)
		}, func(t *testing.T, c *report.Coverage) {
			require.Len(t, c.Unreadable, 1)
			require.Equal(t, report.Key{Step: 0, Module: act, Call: 0, Direction: report.Outputs, Slot: ""}, c.Unreadable[0].Key)
		}, "Unreadable:\n  step_0/" + act + "/outputs: "},
		{"a file is empty", func(t *testing.T, dir string) {
			cut(t, file(dir, "step_0", act+"/outputs"), 0)
		}, func(t *testing.T, c *report.Coverage) { require.Len(t, c.Unreadable, 1) }, "outputs_cuda_0.pt is empty"},
		{
			"another shape", func(t *testing.T, dir string) {
				require.NoError(t, pt.WriteFile(file(dir, "step_0", act+"/outputs"), tensor.New(tensor.BFloat16, 11, 100)))
			}, func(t *testing.T, c *report.Coverage) { require.Len(t, c.Skipped, 1) },
			"Skipped:\n  step_0/" + act + "/outputs: shapes differ: [11,176] in the reference, [11,100] in the target\n",
		},
		{
			"opaque bits", func(t *testing.T, dir string) {
				require.NoError(t, pt.WriteFile(file(dir, "step_0", act+"/outputs"), tensor.New(tensor.Bits8, 11, 176)))
			}, func(t *testing.T, c *report.Coverage) { require.Len(t, c.Skipped, 1) },
			"no numeric values: bfloat16 in the reference, bits8 in the target",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := edited(t, good, func(dir string) { c.change(t, dir) })
			r := run(t, ref, target, Options{})
			require.Equal(t, 3, r.ExitCode())
			require.Equal(t, total-1, r.Coverage.Compared)
			require.InDelta(t, 100*float64(total-1)/float64(total), r.Coverage.Percent(), 1e-9)
			c.check(t, &r.Coverage)
			require.Contains(t, text(t, r, render.TextOptions{}), c.text)
			low := 99.0
			require.Equal(t, 0, run(t, ref, target, Options{MinCoverage: &low}).ExitCode())
		})
	}
}

// Differing tokens are the divergence, and nothing that follows is judged
// until requests begin anew.
func TestTokens(t *testing.T) {
	good := open(t, base)
	ids := "model.embed_tokens/inputs_0"
	ints := func(v ...int) *tensor.Tensor { return tensor.FromInts(tensor.Int32, v, len(v)) }
	for _, c := range []struct {
		name string
		step string
		ids  *tensor.Tensor
		exit int
		at   string
		why  string
	}{
		{"another token in the prompt", "step_0", ints(1, 5, 9, 201, 33, 7, 80, 11, 12, 13, 60), 1, "step_0/" + ids, "token ids differ: at [3] 200 in the reference, 201 in the target"},
		{
			"no BOS", "step_0", ints(5, 9, 200, 33, 7, 80, 11, 12, 13, 60), 1, "step_0/" + ids,
			"token ids differ: 11 ids in the reference, 10 ids in the target, which lacks only the first, 1 (a BOS token?)",
		},
		{"a second BOS", "step_0", ints(1, 1, 5, 9, 200, 33, 7, 80, 11, 12, 13, 60), 1, "step_0/" + ids, "which has 1 before the others (a BOS token?)"},
		{"another token later", "step_1", ints(300), 1, "step_1/" + ids, "token ids differ: 77 in the reference, 300 in the target"},
		{"fewer", "step_0", ints(1, 5, 9), 3, "", "the reference begins with the target's 3 tokens and holds 8 tokens more"},
		{"padding", "step_1", ints(77, 0, 0), 3, "", "the target begins with the reference's 1 token and goes on with 2 ids 0 (padding?)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			prepare := func(dir string) {
				// the same prompt again, after the end of the first
				require.NoError(t, os.CopyFS(filepath.Join(dir, "step_7"), os.DirFS(filepath.Join(dir, "step_0"))))
			}
			ref := edited(t, good, prepare)
			target := edited(t, good, func(dir string) {
				prepare(dir)
				require.NoError(t, pt.WriteFile(file(dir, c.step, ids), c.ids))
			})
			r := run(t, ref, target, Options{})
			require.Equal(t, c.exit, r.ExitCode())
			require.NotEmpty(t, r.Workloads)
			require.Contains(t, r.Workloads[0].Why, c.why)
			if c.at == "" {
				require.Nil(t, r.FirstDivergence)
			} else {
				require.Equal(t, c.at, r.FirstDivergence.String())
				require.Contains(t, r.FirstDivergence.Why, c.why)
			}
			for _, x := range r.Tensors { // of the other forwards only their token ids are compared
				before := c.step == "step_1" && (x.Step == 0 || x.Module == "logits_processor")
				require.True(t, x.Step == 7 || before || x.Module == "model.embed_tokens" && x.Direction == report.Inputs, x.Key)
			}
			require.True(t, slices.ContainsFunc(r.Tensors, func(x *report.TensorDiff) bool { return x.Step == 7 && x.Module == "model.norm" }), "the next prompt is judged again")
			require.Contains(t, text(t, r, render.TextOptions{}), "Another workload, not judged:\n")
			back := run(t, target, ref, Options{})
			require.Equal(t, c.exit, back.ExitCode())
		})
	}
}

// Where no token is recorded the number of rows tells of another prompt, before
// any module is blamed for what follows from it.
func TestOtherRowCount(t *testing.T) {
	const mlp = "model.layers.0.mlp"
	mlpAlone := func(dir string) {
		steps, err := filepath.Glob(filepath.Join(dir, "step_*", "*"))
		require.NoError(t, err)
		for _, call := range steps {
			if !strings.HasPrefix(filepath.Base(call), mlp) {
				require.NoError(t, os.RemoveAll(call))
			}
		}
	}
	good := open(t, base)
	ref := edited(t, good, mlpAlone)
	require.Equal(t, 0, run(t, ref, edited(t, good, mlpAlone), Options{}).ExitCode())

	target := edited(t, good, func(dir string) {
		mlpAlone(dir)
		files, err := filepath.Glob(filepath.Join(dir, "step_0", "*", "*.pt"))
		require.NoError(t, err)
		for _, f := range files {
			x, closer, err := pt.OpenTensor(f)
			require.NoError(t, err)
			require.NoError(t, pt.WriteFile(f+".new", x.Narrow(0, 0, 7)))
			require.NoError(t, closer.Close())
			require.NoError(t, os.Rename(f+".new", f))
		}
		rewrite(t, file(dir, "step_1", mlp+"/outputs"), scaled(3)) // what another history may do
	})
	r := run(t, ref, target, Options{})
	require.Equal(t, 3, r.ExitCode())
	require.Nil(t, r.FirstDivergence)
	require.Len(t, r.Workloads, 2)
	require.Equal(t, "11 rows of tokens in the reference, 7 rows in the target (another prompt, chunks or a batch; embed_tokens, which would tell, is not recorded)", r.Workloads[0].Why)
	require.Equal(t, "its tokens are not recorded, and those before differ", r.Workloads[1].Why)
}

// A fault that makes decoding go another way stays the first divergence.
func TestFaultBeforeOtherTokens(t *testing.T) {
	good := open(t, base)
	r := run(t, edited(t, good, func(string) {}), edited(t, good, func(dir string) {
		rewrite(t, file(dir, "step_0", "model.norm/outputs_0"), scaled(3))
		require.NoError(t, pt.WriteFile(file(dir, "step_1", "model.embed_tokens/inputs_0"), tensor.FromInts(tensor.Int32, []int{9}, 1)))
	}), Options{})
	require.Equal(t, "step_0/model.norm/outputs_0", r.FirstDivergence.String())
	require.Equal(t, []report.Workload{{Forward: 1, Why: "token ids differ: 77 in the reference, 9 in the target"}}, r.Workloads)
}

// Sessions of different models are refused, however they differ.
func TestDifferentModels(t *testing.T) {
	good := open(t, base)
	for _, c := range []struct {
		name   string
		target func() *il.Session
		want   string
	}{
		{
			"every shape", func() *il.Session { return open(t, "gopher-1m-bf16") },
			"3 layers, hidden size 64, vocabulary 320 against 4 layers, hidden size 128, vocabulary 1024; compare runs of one checkpoint",
		},
		{"weights alone", func() *il.Session { return open(t, "qwen2-bias-bf16") }, "model.embed_tokens gives unrelated rows for the same token ids"},
		{"weights, other prompts", func() *il.Session { return open(t, "llama31-rope-bf16") }, "model.embed_tokens gives unrelated rows for the same token ids"},
		{"layers alone", func() *il.Session {
			return edited(t, good, func(dir string) { // the norm takes what layer 1 returns
				for _, step := range []string{"step_0", "step_1"} {
					b, err := os.ReadFile(file(dir, step, "model.layers.1/outputs_0"))
					require.NoError(t, err)
					require.NoError(t, os.Remove(file(dir, step, "model.norm/inputs_0")))
					require.NoError(t, os.WriteFile(file(dir, step, "model.norm/inputs_0"), b, 0o644))
					removeLayer(t, filepath.Join(dir, step), "model.layers.2")
				}
			})
		}, "3 layers, hidden size 64, vocabulary 320 against 2 layers, hidden size 64, vocabulary 320"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Sessions(good, c.target(), Options{})
			require.ErrorContains(t, err, "are sessions of different models: ")
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func removeLayer(t *testing.T, step, layer string) {
	list := filepath.Join(step, "module_calls.txt")
	b, err := os.ReadFile(list)
	require.NoError(t, err)
	var keep []string
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, layer) {
			keep = append(keep, line)
		}
	}
	require.NoError(t, os.WriteFile(list, []byte(strings.Join(keep, "")), 0o644))
	dirs, err := filepath.Glob(filepath.Join(step, layer+"*"))
	require.NoError(t, err)
	for _, d := range dirs {
		require.NoError(t, os.RemoveAll(d))
	}
}

// Steps that were not asked for decide nothing, but their tokens tell whether
// later steps can be judged.
func TestTokensOfOtherSteps(t *testing.T) {
	ref, target := open(t, base), open(t, base+"-fault-kv_swapped") // their tokens part in step 2
	r := run(t, ref, target, Options{Steps: []report.StepRange{{First: 0, Last: 0}}, Modules: []string{`layers\.0\.mlp`}})
	require.Equal(t, report.Pass, r.Verdict)
	require.Empty(t, r.Workloads)

	r = run(t, ref, ref, Options{Steps: []report.StepRange{{First: 3, Last: 3}}})
	require.Equal(t, report.Pass, r.Verdict)

	target = edited(t, ref, func(dir string) {
		require.NoError(t, pt.WriteFile(file(dir, "step_0", "model.embed_tokens/inputs_0"), tensor.FromInts(tensor.Int32, make([]int, 11), 11)))
	})
	r = run(t, edited(t, ref, func(string) {}), target, Options{Steps: []report.StepRange{{First: 1, Last: 1}}})
	require.Equal(t, 1, r.ExitCode())
	require.Equal(t, "step_0/model.embed_tokens/inputs_0", r.FirstDivergence.String())
}

// A session that a filter cut down is one of the same model, whatever layers
// it holds; on what both hold it passes.
func TestCommonOnly(t *testing.T) {
	r := run(t, open(t, base), open(t, base+"-filtered"), Options{CommonOnly: true})
	require.Equal(t, report.Pass, r.Verdict)
	require.Equal(t, 74, r.Coverage.Compared)
	require.Equal(t, 100.0, r.Coverage.Percent())

	later := openDir(t, func() string {
		dir := copySteps(t, open(t, base), 3) // logits alone, which tell no tokens
		require.NoError(t, os.Rename(filepath.Join(dir, "step_3"), filepath.Join(dir, "step_9")))
		return dir
	}())
	r = run(t, open(t, base), later, Options{CommonOnly: true})
	require.Equal(t, 3, r.ExitCode())
	low := 0.0
	require.Equal(t, 3, run(t, open(t, base), later, Options{CommonOnly: true, MinCoverage: &low}).ExitCode())
	require.Contains(t, text(t, r, render.TextOptions{}), "Nothing to compare: the reference holds steps 0-3, the target step 9.\n")
}
