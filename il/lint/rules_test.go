package lint

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/tensor"
)

// Each rule, by what somebody did to a clean session. With exact nothing else
// may be found.
func TestRules(t *testing.T) {
	const (
		l1   = "model.layers.1"
		tp2  = plain + "-tp2"
		o1   = "/model.layers.1.self_attn.o_proj/outputs_0_cuda_0.pt"
		act1 = "/model.layers.1.mlp.act_fn/"
	)
	inf := math.Inf(1)
	for _, c := range []struct {
		name, session string
		change        func(e edit)
		exact         bool
		want          []wanted
	}{
		// Identities
		{"a layer's input is not the last one's output", plain, func(e edit) {
			e.values("step_0/model.layers.1/inputs_1_cuda_0.pt", set(70, 3))
		}, true, []wanted{
			{Error, "broken-identity", 0, l1 + " inputs_1", "model.layers.1 inputs_1 must be model.layers.0 outputs_0 to the bit, but max_abs "},
			{Error, "broken-identity", 0, l1 + ".input_layernorm inputs_0", "at [1 6], rel_l2 "},
		}},
		{"keys that are not those of qkv_proj", plain, func(e edit) {
			e.values("step_1/model.layers.0.self_attn.rotary_emb_2/inputs_2_cuda_0.pt", set(0, 9))
		}, true, []wanted{{
			Error, "broken-identity", 1, "model.layers.0.self_attn.rotary_emb_2 inputs_2",
			"must be model.layers.2.self_attn.qkv_proj outputs_0 to the bit, but its 16 columns are not those of the 96",
		}}},
		{"a scalar where a matrix is due", plain, func(e edit) {
			e.remove("step_*/*/*.json")
			e.store("step_0/model.layers.1.mlp.act_fn/inputs_0_cuda_0.pt", tensor.New(tensor.BFloat16))
		}, false, []wanted{{Error, "broken-identity", 0, "model.layers.1.mlp.act_fn inputs_0", "but it is bfloat16[] against bfloat16[11,352]"}}},
		{"again in later steps", plain, func(e edit) {
			for _, s := range []string{"step_0", "step_2"} {
				e.values(s+"/model.layers.1.mlp.act_fn/outputs_cuda_0.pt", scaled(2))
			}
		}, true, []wanted{{Error, "broken-identity", 0, "model.layers.1.mlp.down_proj inputs_0", "again in step 2)"}}},
		{"a rank of two", tp2, func(e edit) {
			e.values("step_0/model.layers.1.self_attn.attn/outputs_cuda_1.pt", scaled(2))
		}, true, []wanted{{Error, "broken-identity", 0, "model.layers.1.self_attn.o_proj inputs_0", "inputs_0 of cuda:1 must be model.layers.1.self_attn.attn outputs of cuda:1"}}},
		{"a model that scales its mlp's output", plain, func(e edit) {
			for _, s := range []string{"step_0", "step_1", "step_2"} {
				for _, l := range []string{"0", "1", "2"} {
					e.values(s+"/model.layers."+l+".mlp.down_proj/outputs_0_cuda_0.pt", scaled(2))
				}
			}
		}, true, []wanted{{Warning, "broken-identity", 0, "model.layers.0.mlp outputs", "nor is it so in any of the 9 places"}}},
		// Frozen frames
		{"one buffer for two layers", plain, func(e edit) {
			e.copy("step_0/model.layers.1.self_attn.o_proj/outputs_0_cuda_0.pt", "step_0/model.layers.2.self_attn.o_proj/outputs_0_cuda_0.pt")
		}, true, []wanted{
			{Error, "same-in-two-layers", 0, "model.layers.2.self_attn.o_proj outputs_0", "equals model.layers.1.self_attn.o_proj outputs_0 to the bit (704 values)"},
			{Error, "broken-identity", 0, "model.layers.2.self_attn outputs", ""},
		}},
		{"one buffer for two steps", plain, func(e edit) {
			e.copy("step_1/model.layers.1.mlp.down_proj/outputs_0_cuda_0.pt", "step_2/model.layers.1.mlp.down_proj/outputs_0_cuda_0.pt")
		}, true, []wanted{
			{Error, "same-in-two-steps", 2, "model.layers.1.mlp.down_proj outputs_0", "equals that of step 1 to the bit (64 values), though the inputs differ"},
			{Error, "broken-identity", 2, "model.layers.1.mlp outputs", ""},
		}},
		{"one buffer for two steps, of a module without inputs", plain, func(e edit) {
			e.copy("step_1/model.layers.1.self_attn/outputs_cuda_0.pt", "step_2/model.layers.1.self_attn/outputs_cuda_0.pt")
		}, false, []wanted{{Error, "same-in-two-steps", 2, "model.layers.1.self_attn outputs", ""}}},
		{"a whole step again", plain, func(e edit) {
			e.remove("step_2")
			require.NoError(e.t, os.CopyFS(e.path("step_2"), os.DirFS(e.path("step_1"))))
		}, true, []wanted{{Warning, "position-jump", 2, "model.layers.0 inputs_0", "row 0 is at position 11, but the requests of the step before go on at 12"}}},
		// Values
		{"a buffer that was never written", plain, func(e edit) {
			e.values("step_0"+o1, scaled(0))
		}, false, []wanted{{Warning, "constant-output", 0, "model.layers.1.self_attn.o_proj outputs_0", "is zero in all 704 values"}}},
		{"a constant", plain, func(e edit) {
			e.values("step_0"+act1+"outputs_cuda_0.pt", func(v []float64) {
				for i := range v {
					v[i] = 1.5
				}
			})
		}, false, []wanted{{Warning, "constant-output", 0, "model.layers.1.mlp.act_fn outputs", "is 1.5 in all "}}},
		{"NaN, and what comes of it", plain, func(e edit) {
			for _, f := range []string{o1, "/model.layers.1.self_attn/outputs_cuda_0.pt", "/model.layers.1.post_attention_layernorm/inputs_0_cuda_0.pt", "/model.layers.1.post_attention_layernorm/outputs_0_cuda_0.pt", "/model.layers.1/outputs_0_cuda_0.pt"} {
				e.values("step_0"+f, set(130, math.NaN()))
			}
		}, false, []wanted{{Error, "non-finite", 0, "model.layers.1.self_attn.o_proj outputs_0", "has 1 NaN in row 2 of 11, and its inputs are finite: the model fails here; 5 tensors of step 0"}}},
		{"infinities from nowhere", plain, func(e edit) {
			e.values("step_0/model.layers.1.mlp.act_fn/inputs_0_cuda_0.pt", func(v []float64) { v[0], v[len(v)-1] = inf, -inf })
		}, false, []wanted{{Error, "non-finite", 0, "model.layers.1.mlp.act_fn inputs_0", "has 1 +Inf and 1 -Inf in rows 0-10 of 11: they come from a module that is not recorded"}}},
		{"logits of tokens that are not allowed", plain, func(e edit) {
			e.values("step_1/logits_processor/outputs_cuda_0.pt", set(3, -inf))
		}, true, nil},
		// Ranks
		{"one rank computes something else", tp2, func(e edit) {
			e.values("step_0/model.layers.1.input_layernorm/outputs_0_cuda_1.pt", scaled(1.5))
		}, false, []wanted{{Error, "ranks-differ", 0, "model.layers.1.input_layernorm outputs_0", "cuda:0 and cuda:1 differ by rel_l2 0.5"}}},
		{"no all-reduce", tp2, func(e edit) {
			for _, f := range []string{".mlp.down_proj/outputs_0", ".mlp/outputs", "/outputs_0"} {
				e.copy("step_0/model.layers.2.self_attn.o_proj/outputs_0_cuda_0.pt", "step_0/model.layers.1"+f+"_cuda_1.pt")
			}
		}, false, []wanted{{Error, "partial-sums", 0, "model.layers.1.mlp.down_proj outputs_0", "recorded before or without the all-reduce"}}},
		{"an all-reduce in a module around", tp2, func(e edit) {
			e.copy("step_0/model.layers.2.self_attn.o_proj/outputs_0_cuda_0.pt", "step_0/model.layers.1.mlp.down_proj/outputs_0_cuda_1.pt")
		}, true, []wanted{{Error, "broken-identity", 0, "model.layers.1.mlp outputs", "of cuda:1"}}},
		{"a rank's file has gone", tp2, func(e edit) {
			e.remove("step_0/model.layers.1.mlp.down_proj/outputs_0_cuda_1.pt")
		}, true, []wanted{{Error, "missing-rank", 0, "model.layers.1.mlp.down_proj outputs_0", "is there for cuda:0 alone, other tensors for 2 ranks"}}},
		// Files
		{"a file cut short", plain, func(e edit) {
			e.write("step_0"+o1, e.text("step_0" + o1)[:700])
		}, true, []wanted{{Error, "unreadable-tensor", 0, "model.layers.1.self_attn.o_proj outputs_0", "outputs_0_cuda_0.pt"}}},
		{"an empty file", plain, func(e edit) {
			e.write("step_0"+o1, "")
		}, true, []wanted{{Error, "unreadable-tensor", 0, "model.layers.1.self_attn.o_proj outputs_0", "is empty: the run that wrote it is still going"}}},
		{"a file of something else", plain, func(e edit) {
			e.write("step_0"+o1, "hello")
		}, true, []wanted{{Error, "unreadable-tensor", 0, "model.layers.1.self_attn.o_proj outputs_0", ""}}},
		{"a directory for a file", plain, func(e edit) {
			e.remove("step_0" + o1)
			require.NoError(e.t, os.Mkdir(e.path("step_0"+o1), 0o755))
		}, true, []wanted{{Error, "unreadable-tensor", 0, "model.layers.1.self_attn.o_proj outputs_0", "is not a regular file"}}},
		{"a link out", plain, func(e edit) {
			e.remove("step_0" + act1 + "inputs.json")
			require.NoError(e.t, os.Symlink("/etc/hostname", e.path("step_0"+act1+"inputs.json")))
		}, false, []wanted{{Error, "outside-link", 0, "", "is a link out of the session"}}},
		{"a file has gone", plain, func(e edit) {
			e.remove("step_0" + act1 + "outputs_cuda_0.pt")
		}, true, []wanted{{Error, "missing-tensor", 0, "model.layers.1.mlp.act_fn outputs", "outputs.json lists bfloat16[11,176], but there is no .pt file of it"}}},
		{"a file has gone, without side files", plain, func(e edit) {
			e.remove("step_*/*/*.json", "step_0/model.layers.2.post_attention_layernorm/outputs_1_cuda_0.pt")
		}, true, []wanted{{Warning, "missing-tensor", 0, "model.layers.2.post_attention_layernorm outputs_1", "5 of 6 calls of its kind record"}}},
		{
			"no outputs", plain, func(e edit) { e.remove("step_0" + act1 + "outputs*") }, true,
			[]wanted{{Error, "missing-outputs", 0, "model.layers.1.mlp.act_fn", "records no outputs"}},
		},
		{
			"no inputs, without side files", plain, func(e edit) { e.remove("step_*/*/*.json", "step_0"+act1+"inputs*") }, true,
			[]wanted{{Error, "missing-inputs", 0, "model.layers.1.mlp.act_fn", "records no inputs"}},
		},
		{
			"a side file has gone", plain, func(e edit) { e.remove("step_0" + act1 + "inputs.json") }, true,
			[]wanted{{Warning, "missing-side-file", 0, "model.layers.1.mlp.act_fn inputs", "no inputs.json"}},
		},
		{
			"a side file cut short", plain, func(e edit) { e.write("step_0"+act1+"inputs.json", `{"type": "tu`) }, true,
			[]wanted{{Error, "unreadable-side-file", 0, "model.layers.1.mlp.act_fn inputs", "the JSON ends too early"}},
		},
		{"a side file of another run", plain, func(e edit) {
			e.copy("step_1"+act1+"inputs.json", "step_0"+act1+"inputs.json")
		}, true, []wanted{{Error, "side-file-mismatch", 0, "model.layers.1.mlp.act_fn inputs_0", "is bfloat16[11,352], but inputs.json says bfloat16[1,352]"}}},
		{"a tensor that the side file does not list", plain, func(e edit) {
			e.copy("step_0"+act1+"inputs_0_cuda_0.pt", "step_0"+act1+"inputs_1_cuda_0.pt")
		}, true, []wanted{{Error, "side-file-mismatch", 0, "model.layers.1.mlp.act_fn inputs_1", "that inputs.json does not list"}}},
		{"keyword arguments beside the others", plain, func(e edit) {
			e.keyword(act1, `{"scale": {"type": "tensor", "shape": [11, 352], "dtype": "torch.bfloat16", "numel": 3872}, "bias": null}`)
		}, true, nil},
		{"a keyword argument of another shape", plain, func(e edit) {
			e.keyword(act1, `{"scale": {"type": "tensor", "shape": [1, 352], "dtype": "torch.bfloat16", "numel": 352}}`)
		}, true, []wanted{{Error, "side-file-mismatch", 0, "model.layers.1.mlp.act_fn inputs_scale", "is bfloat16[11,352], but inputs.json says bfloat16[1,352]"}}},
		{"keyword arguments that are no object", plain, func(e edit) {
			e.keyword(act1, `3`)
		}, true, []wanted{{Error, "unreadable-side-file", 0, "model.layers.1.mlp.act_fn inputs", "inputs.json: kwargs: expected a JSON object"}}},
		{"a stub cut short", plain + "-max1000", func(e edit) {
			e.write("step_0/model.layers.1.mlp.gate_up_proj/outputs_0.json", `{"shape": [1`)
		}, false, []wanted{{Error, "unreadable-stub", 0, "model.layers.1.mlp.gate_up_proj outputs_0", "outputs_0.json"}}},
		{"rows of another step", plain, func(e edit) {
			e.remove("step_*/*/*.json")
			e.copy("step_1"+act1+"outputs_cuda_0.pt", "step_0"+act1+"outputs_cuda_0.pt")
		}, false, []wanted{{Error, "row-count", 0, "model.layers.1.mlp.act_fn outputs", "has 1 rows, but step 0 has 11"}}},
		// Lists and directories
		{"two runs into one directory", plain, func(e edit) {
			e.lines("step_0", func(l []string) []string { return append(l, l...) })
		}, true, []wanted{{Warning, "repeated-run", 0, "", "holds its list of calls 2 times over"}}},
		{
			"ranks that device_names left out", tp2, func(e edit) { e.remove("step_*/*/*_cuda_1.pt") }, true,
			[]wanted{{Info, "silent-ranks", -1, "", "lists every call once more than there are tensors of it"}},
		},
		{"a rank that stopped early", tp2, func(e edit) {
			e.lines("step_2", func(l []string) []string { return l[:len(l)-1] })
		}, true, []wanted{{Warning, "uneven-call-list", 2, "", "lists model.norm 1 times, but 2 ranks wrote tensors"}}},
		{
			"a line has gone", plain, func(e edit) { e.lines("step_0", without("model.norm")) }, true,
			[]wanted{{Warning, "unlisted-call", 0, "model.norm", "no line in module_calls.txt of step 0"}},
		},
		{
			"a directory has gone", plain, func(e edit) { e.remove("step_0/model.layers.1.mlp.act_fn") }, true,
			[]wanted{{Warning, "call-without-directory", 0, "model.layers.1.mlp.act_fn", "but has no directory"}},
		},
		{"both have gone", plain, func(e edit) {
			e.remove("step_1/model.layers.1.mlp.act_fn")
			e.lines("step_1", without("model.layers.1.mlp.act_fn"))
		}, true, []wanted{{Warning, "missing-call", 1, "model.layers.1.mlp.act_fn", "is not in step 1"}}},
		{
			"one list has gone", plain, func(e edit) { e.remove("step_1/module_calls.txt") }, false,
			[]wanted{{Warning, "no-call-list", 1, "", "has no module_calls.txt"}},
		},
		{
			"all lists have gone", plain, func(e edit) { e.remove("step_*/module_calls.txt") }, true,
			[]wanted{{Warning, "old-logger", -1, "", "no step has a module_calls.txt"}},
		},
		{"the oldest logger", plain, func(e edit) {
			e.remove("step_*/module_calls.txt")
			rope := "/model.layers.0.self_attn.rotary_emb"
			for _, s := range []string{"step_0", "step_1", "step_2"} {
				for _, f := range []string{"/inputs.json", "/inputs_0_cuda_0.pt", "/inputs_1_cuda_0.pt", "/inputs_2_cuda_0.pt"} {
					e.copy(s+rope+"_1"+f, s+rope+f)
					e.copy(s+rope+"_2"+f, s+rope+"_1"+f)
					e.remove(s + rope + "_2" + f)
				}
			}
		}, true, []wanted{{Warning, "old-logger", -1, "", "no step has a module_calls.txt, as with the oldest logger"}}},
		{"one call chosen", plain, func(e edit) {
			rope := "model.layers.0.self_attn.rotary_emb"
			for _, s := range []string{"step_0", "step_1", "step_2"} {
				e.remove(s+"/"+rope, s+"/"+rope+"_1/inputs*", s+"/"+rope+"_2/outputs*")
				e.lines(s, without(rope))
				e.lines(s, without(rope+"_1"))
			}
		}, true, []wanted{{Info, "call-filter", 0, "model.layers.0.self_attn.rotary_emb_2", "rotary_emb_1 has outputs alone and model.layers.0.self_attn.rotary_emb_2 inputs alone"}}},
		{"the last call chosen", plain, func(e edit) {
			rope := "model.layers.0.self_attn.rotary_emb"
			for _, s := range []string{"step_0", "step_1", "step_2"} {
				e.remove(s+"/"+rope, s+"/"+rope+"_1", s+"/"+rope+"_2/inputs*")
				for _, x := range []string{"", "_1", "_2"} {
					e.lines(s, without(rope+x))
				}
			}
		}, true, []wanted{{Info, "call-filter", 0, "model.layers.0.self_attn.rotary_emb_2", "has outputs alone: so the GPU logger does with the filter \":2\""}}},
		{"other files", plain, func(e edit) {
			e.write("notes.txt", "")
			e.write("step_0"+act1+"x.png", "")
		}, true, []wanted{{Info, "foreign-files", -1, "", "notes.txt"}, {Info, "foreign-files", 0, "", "x.png"}}},
		// Steps
		{
			"a step is not there", plain, func(e edit) { e.remove("step_1") }, true,
			[]wanted{{Info, "missing-steps", -1, "", "step 1 not recorded"}},
		},
		{"logits without their forward", plain, func(e edit) {
			e.remove("step_1/model.*")
			e.lines("step_1", func(l []string) []string { return l[:1] })
		}, false, []wanted{{Warning, "step-without-forward", 1, "", "step 1 holds the logits of the step before alone, although a step follows"}}},
		{
			"no logits", plain, func(e edit) { e.remove("step_1", "step_2", "step_3") }, true,
			[]wanted{{Info, "no-logits", -1, "", "log_step_ids [0], the default"}},
		},
		{
			"no tensors", plain, func(e edit) { e.remove("step_*/*/*.pt") }, true,
			[]wanted{{Error, "no-tensors", -1, "", "117 calls, but not one tensor was saved"}},
		},
		{
			"no calls", plain, func(e edit) { e.remove("step_1", "step_2", "step_3", "step_0/*") }, false,
			[]wanted{{Error, "no-calls", -1, "", "no step holds a call"}},
		},
		// A run that has not ended
		{"within a module", plain, func(e edit) {
			l := strings.Split(e.text("step_2/module_calls.txt"), "\n")
			i := slices.Index(l, "model.layers.2.self_attn.attn")
			for _, m := range l[i+1 : len(l)-1] {
				e.remove("step_2/" + m)
			}
			e.remove("step_3", "step_2/model.layers.2.self_attn.attn/outputs*", "step_2/model.layers.2.self_attn/outputs*", "step_2/model.layers.2/outputs*")
			e.write("step_2/module_calls.txt", strings.Join(l[:i+1], "\n")+"\n")
		}, true, []wanted{{Warning, "unfinished-step", 2, "", "step 2 ends within model.layers.2.self_attn.attn, after 32 calls"}}},
		{"within a rotary embedding", plain, func(e edit) {
			l := strings.Split(e.text("step_2/module_calls.txt"), "\n")
			i := slices.Index(l, "model.layers.0.self_attn.rotary_emb_2")
			for _, m := range l[i+1 : len(l)-1] {
				e.remove("step_2/" + m)
			}
			e.remove("step_3", "step_2/model.layers.0.self_attn.rotary_emb_2/outputs*", "step_2/model.layers.2.self_attn/outputs*", "step_2/model.layers.2/outputs*")
			e.write("step_2/module_calls.txt", strings.Join(l[:i+1], "\n")+"\n")
		}, true, []wanted{{Warning, "unfinished-step", 2, "", "step 2 ends within model.layers.0.self_attn.rotary_emb_2"}}},
		{
			"within a file", plain, func(e edit) { e.write("step_2/model.norm/.il-00.tmp", "") }, true,
			[]wanted{{Warning, "unfinished-files", 2, "", "left by a run that is still going, or died"}},
		},
		{"within a line", plain, func(e edit) {
			e.write("step_3/module_calls.txt", "logits_processor\nmodel.emb")
		}, true, []wanted{{Warning, "cut-call-list", 3, "", "ends within a line"}}},
		{
			"before the first call", plain, func(e edit) { e.remove("step_3/*") }, true,
			[]wanted{{Warning, "unfinished-step", 3, "", "step 3 is empty"}},
		},
		// Tokens
		{"a position that jumps", plain, func(e edit) {
			for _, f := range []string{"", "_1", "_2"} {
				e.values("step_2/model.layers.0.self_attn.rotary_emb"+f+"/inputs_0_cuda_0.pt", set(0, 14))
			}
			for _, f := range []string{"0", "1", "2"} {
				e.values("step_2/model.layers."+f+"/inputs_0_cuda_0.pt", set(0, 14))
			}
		}, true, []wanted{{Warning, "position-jump", 2, "model.layers.0 inputs_0", "row 0 is at position 14, but the requests of the step before go on at 12"}}},
		{
			"a negative id", plain, func(e edit) { e.values("step_0/model.embed_tokens/inputs_0_cuda_0.pt", set(4, -1)) }, true,
			[]wanted{{Error, "negative-token-id", 0, "model.embed_tokens inputs_0", "1 negative id, the first -1 in row 4"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := copyOf(t, c.session)
			c.change(e)
			e.want(c.exact, c.want...)
		})
	}
}

// Every tensor that has a twin is held against it: one bit more in any of them
// is an error that names it.
func TestEveryTensorIsHeld(t *testing.T) {
	e := copyOf(t, plain)
	e.remove("step_1", "step_2", "step_3")
	free := []string{
		"model.embed_tokens/inputs_0", "model.embed_tokens/outputs", "model.norm/outputs_0", "model.norm/outputs_1",
	}
	files, err := filepath.Glob(e.path("step_0/*/*.pt"))
	require.NoError(t, err)
	require.Len(t, files, 108)
	for _, f := range files {
		name, err := filepath.Rel(e.dir, f)
		require.NoError(t, err)
		before := e.text(name)
		x := e.read(name)
		x.Data[0] ^= 1
		e.store(name, x)
		r := run(t, e.dir)
		module, slot := filepath.Base(filepath.Dir(f)), strings.TrimSuffix(filepath.Base(f), "_cuda_0.pt")
		named := slices.ContainsFunc(r.Findings, func(x Finding) bool {
			return x.Rule == "broken-identity" && x.Severity == Error && strings.Contains(x.Message+" ", module+" "+slot+" ")
		})
		require.Equal(t, !slices.Contains(free, module+"/"+slot), named, name)
		e.write(name, before)
	}
}
