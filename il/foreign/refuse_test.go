package foreign_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/foreign"
	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/internal/fixture"
)

// one is the first file that matches.
func one(t *testing.T, pattern ...string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(pattern...))
	require.NoError(t, err)
	require.NotEmpty(t, found, pattern)
	return found[0]
}

func write(t *testing.T, data string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(data), 0o644))
}

func edit(t *testing.T, path, old, with string) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(b), old)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(b), old, with, 1)), 0o644))
}

func cut(t *testing.T, path string, n int64) {
	t.Helper()
	require.NoError(t, os.Truncate(path, n))
}

// A file of the dumper's fixture, and a pickle that would run a program.
const (
	normFile = "step=0___*name=non_intrusive__model.norm.output.0___*"
	code     = "\x80\x02cos\nsystem\nX\x04\x00\x00\x00echo\x85R."
)

// What cannot be read as a dump is refused in a line that says so.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name, dump string
		change     func(t *testing.T, dir string)
		says       string
	}{
		{"a session and a dump", "pass", func(t *testing.T, dir string) {
			require.NoError(t, os.CopyFS(filepath.Join(dir, "step_0"), os.DirFS(t.TempDir())))
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "step_0", "model.norm"), 0o755))
		}, "holds a session, "},
		{"two forms", "msprobe", func(t *testing.T, dir string) {
			write(t, "x", dir, "step=0___rank=0___dump_index=1___name=positions___recompute_status=disabled.pt")
		}, "mixes files of SGLang's dumper and msprobe: move those of one dump to a directory of their own"},
		{"two dumps", "pass", func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(filepath.Join(dir, "target"), 0o755))
			require.NoError(t, os.CopyFS(filepath.Join(dir, "draft", "TP0_PP0_Rank0_pid1"), os.DirFS(filepath.Join(dir, "TP0_PP0_Rank0_pid4711"))))
			require.NoError(t, os.Rename(filepath.Join(dir, "TP0_PP0_Rank0_pid4711"), filepath.Join(dir, "target", "TP0_PP0_Rank0_pid1")))
		}, "holds 2 dumps, name one of them: "},
		{"two runs", "pass", func(t *testing.T, dir string) {
			require.NoError(t, os.CopyFS(filepath.Join(dir, "TP0_PP0_Rank0_pid4712"), os.DirFS(filepath.Join(dir, "TP0_PP0_Rank0_pid4711"))))
		}, "holds two runs, as TP0_PP0_Rank0_pid4711 and TP0_PP0_Rank0_pid4712 are both of rank 0: "},
		{"two replicas", "neuron", func(t *testing.T, dir string) {
			require.NoError(t, os.CopyFS(filepath.Join(dir, "dp1"), os.DirFS(filepath.Join(dir, "dp0"))))
		}, "holds 2 dumps, name one of them: "},

		{"the batch alone", "dumper-sglang", func(t *testing.T, dir string) {
			hooks, err := filepath.Glob(filepath.Join(dir, "*non_intrusive*"))
			require.NoError(t, err)
			for _, f := range hooks {
				require.NoError(t, os.Remove(f))
			}
		}, "recorded by SGLang's dumper, and holds no tensor of a module: dump again with DUMPER_NON_INTRUSIVE_MODE=all"},
		{"no file of forwards is whole", "pass", func(t *testing.T, dir string) {
			for _, n := range []string{"0", "1"} {
				cut(t, filepath.Join(dir, "TP0_PP0_Rank0_pid4711", "Pass0000"+n+".pt"), 100)
			}
		}, "none of its 2 forwards can be read: "},
		{"a killed run", "msprobe", func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "step1", "rank", "dump.json")))
		}, "has dump_tensor_data and no dump.json: msprobe writes it when the debugger stops; the run was killed, or is still going"},
		{"a run killed before anything was written", "msprobe", func(t *testing.T, dir string) {
			write(t, `{"task": "tensor", "level": "L0", "framework": "pytorch", "data": {}}`, dir, "step0", "rank", "dump.json")
		}, "names no call, and dump_tensor_data has 159 tensors: msprobe writes it when the debugger stops"},
		{"half a JSON", "msprobe", func(t *testing.T, dir string) { cut(t, filepath.Join(dir, "step0", "rank", "dump.json"), 5000) }, "dump.json: the JSON ends too early"},
		{"no JSON", "msprobe", func(t *testing.T, dir string) {
			write(t, `{"data": {"a": nonsense}}`, dir, "step0", "rank", "dump.json")
		}, "dump.json: invalid JSON at byte"},
		{"a list", "msprobe", func(t *testing.T, dir string) { write(t, `[]`, dir, "step0", "rank", "dump.json") }, "dump.json: expected an object at byte"},
		{"nesting", "msprobe", func(t *testing.T, dir string) {
			write(t, `{"data": {"a": {"output": `+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+`}}}`, dir, "step0", "rank", "dump.json")
		}, "values are nested more than 64 deep"},
		{"far too many values", "msprobe", func(t *testing.T, dir string) {
			write(t, `{"data": {"a": {"output": [`+strings.Repeat("0,", 200_000)+`0]}}}`, dir, "step0", "rank", "dump.json")
		}, "it holds far more values than a dump of its size has"},
		{"a shape that overflows", "msprobe", func(t *testing.T, dir string) {
			write(t, `{"data": {"Module.m.M.forward.0": {"output": [{"type": "torch.Tensor", "dtype": "torch.int8", "shape": [9223372036854775807, 3]}]}}}`, dir, "step0", "rank", "dump.json")
		}, "3 is not a dimension"},
		{"MindSpore", "msprobe", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "step0", "rank", "dump.json"), `"pytorch"`, `"mindspore"`)
		}, "is a dump of mindspore, expected one of pytorch"},
		{"functions alone", "msprobe-statistics", func(t *testing.T, dir string) {
			for _, s := range []string{"step0", "step1"} {
				write(t, `{"level": "L1", "framework": "pytorch", "data": {"Functional.linear.0.forward": {"input_args": [], "output": []}}}`, dir, s, "rank0", "dump.json")
			}
		}, "holds no tensor of a module: dump again with level L0 or mix"},
		{"a JSON that is a link", "msprobe", func(t *testing.T, dir string) {
			path := filepath.Join(dir, "step0", "rank", "dump.json")
			require.NoError(t, os.Rename(path, filepath.Join(dir, "elsewhere")))
			require.NoError(t, os.Symlink("../../elsewhere", path))
		}, "dump.json is a link: not followed"},
		{"positions that are none", "neuron", func(t *testing.T, dir string) {
			write(t, `{"req_ids": [1], "positions": ["a"]}`, dir, "dp0", "prefill_s8_0", "prefill_s8_0_meta.json")
		}, "prefill_s8_0_meta.json: positions are not numbers, or lists of numbers"},
		{"no JSON beside the tensors", "neuron", func(t *testing.T, dir string) {
			write(t, `{`, dir, "dp0", "prefill_s8_0", "prefill_s8_0_meta.json")
		}, "prefill_s8_0_meta.json: "},
		{"layers that nothing tells", "hidden", func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "layer_ids.json")))
		}, "the files do not say which layers their hidden states enter, and there is no layer_ids.json: write the run's eagle_aux_hidden_state_layer_ids there"},
		{"another number of layers", "hidden", func(t *testing.T, dir string) { write(t, `[1, 2]`, dir, "layer_ids.json") }, "holds the hidden states of 4 layers, and layer_ids.json names 2"},
		{"a layer twice", "hidden", func(t *testing.T, dir string) { write(t, `[1, 2, 3, 1]`, dir, "layer_ids.json") }, "layer_ids.json: 1 stands twice"},
		{"no layer", "hidden", func(t *testing.T, dir string) { write(t, `[1, 2.5]`, dir, "layer_ids.json") }, "layer_ids.json: 2.5 is not the number of a layer"},
		{"another word", "hidden", func(t *testing.T, dir string) { write(t, `["last"]`, dir, "layer_ids.json") }, `layer_ids.json: "last" is not the number of a layer`},
		{"lists of layers", "hidden", func(t *testing.T, dir string) { write(t, `[[1]]`, dir, "layer_ids.json") }, "layer_ids.json: a list of something else than layers"},
		{"no list", "hidden", func(t *testing.T, dir string) { write(t, `{}`, dir, "layer_ids.json") }, "layer_ids.json is not a JSON list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := fixture.Dump(t, c.dump)
			c.change(t, dir)
			_, err := foreign.Open(dir)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// A tensor that cannot be read is listed so, and nothing else is lost.
func TestUnreadable(t *testing.T) {
	probe := func(dir string) string { return filepath.Join(dir, "step0", "rank", "dump_tensor_data") }
	const mlp = "Module.model.layers.1.mlp.LlamaMLP.forward.0.output.0.pt"
	for _, c := range []struct {
		name, dump string
		change     func(t *testing.T, dir string)
		says       string
	}{
		{"cut short", "dumper-sglang", func(t *testing.T, dir string) { cut(t, one(t, dir, normFile), 300) }, "model.norm"},
		{"empty", "dumper-sglang", func(t *testing.T, dir string) { cut(t, one(t, dir, normFile), 0) }, "an empty file, not one of torch.save"},
		{"code", "dumper-sglang", func(t *testing.T, dir string) {
			f := one(t, dir, normFile)
			require.NoError(t, os.WriteFile(f, fixture.CraftDeflated([]byte(code), nil), 0o644))
		}, "system"},
		{"a link", "dumper-sglang", func(t *testing.T, dir string) {
			f := one(t, dir, normFile)
			require.NoError(t, os.Rename(f, f+".moved"))
			require.NoError(t, os.Symlink(f+".moved", f))
		}, "is a link: not followed"},
		{"no dict", "dumper-sglang", func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(one(t, dir, normFile), fixture.CraftTensor("FloatStorage", 4, []uint64{1}, []uint64{1}, 0, make([]byte, 4)), 0o644))
		}, `holds no tensor at "value"`},
		{"a huge claim", "msprobe", func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(probe(dir), mlp), fixture.CraftTensor("FloatStorage", 4, []uint64{1 << 40, 1 << 10}, []uint64{0, 0}, 0, make([]byte, 4)), 0o644))
		}, "nearly all of it is repeated"},
		{"another folder's file", "msprobe", func(t *testing.T, dir string) {
			edit(t, filepath.Join(probe(dir), "..", "dump.json"), mlp, "../../../../etc/passwd.pt")
		}, "is not the name of a .pt file in dump_tensor_data"},
		{"no such file", "msprobe", func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(probe(dir), mlp))) }, "no such file or directory"},
		{"a linked file", "msprobe", func(t *testing.T, dir string) {
			f := filepath.Join(probe(dir), mlp)
			require.NoError(t, os.Remove(f))
			require.NoError(t, os.Symlink("/dev/zero", f))
		}, "is not a regular file"},
		{"a folder of another rank", "neuron", func(t *testing.T, dir string) {
			f := filepath.Join(dir, "dp0", "prefill_s8_0", "model.norm", "rank0.pt")
			require.NoError(t, os.Remove(f))
			require.NoError(t, os.Mkdir(f, 0o755))
		}, "is not a regular file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := fixture.Dump(t, c.dump)
			c.change(t, dir)
			s := open(t, dir)
			r := diff(t, open(t, fixture.Dump(t, c.dump)), s)
			require.Equal(t, report.Incomparable, r.Verdict)
			require.Len(t, r.Coverage.Unreadable, 1)
			require.Contains(t, r.Coverage.Unreadable[0].Why, c.says)
			require.NotContains(t, r.Coverage.Unreadable[0].Why, "\n")

			// It does not become a session with a hole.
			to := filepath.Join(t.TempDir(), "session")
			require.ErrorContains(t, s.Write(context.Background(), to, provenance.Writer{}, nil), c.says)
			require.NoDirExists(t, to)
			left, err := os.ReadDir(filepath.Dir(to))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// A dump that a run has not finished is no pass.
func TestUnfinished(t *testing.T) {
	t.Run("pass", func(t *testing.T) {
		dir := fixture.Dump(t, "pass")
		cut(t, filepath.Join(dir, "TP0_PP0_Rank0_pid4711", "Pass00001.pt"), 9000)
		s := open(t, dir)
		require.Contains(t, s.Unfinished(), "a forward cannot be read: ")
		require.Equal(t, report.Incomparable, diff(t, s, s).Verdict)
	})
	t.Run("msprobe", func(t *testing.T) {
		dir := fixture.Dump(t, "msprobe")
		data := filepath.Join(dir, "step1", "rank", "dump_tensor_data")
		write(t, "x", data, "Module.model.more.M.forward.0.output.0.pt")
		s := open(t, dir)
		require.Contains(t, s.Unfinished(), "dump.json does not name 1 of the 160 files of dump_tensor_data: the run was killed before the debugger stopped")
		require.Equal(t, report.Incomparable, diff(t, s, s).Verdict)
	})
	t.Run("hidden", func(t *testing.T) {
		dir := fixture.Dump(t, "hidden")
		write(t, "x", dir, "cmpl-2-0.safetensors")
		s := open(t, dir)
		require.Contains(t, s.Unfinished(), "a request cannot be read: ")
		require.Equal(t, report.Incomparable, diff(t, s, s).Verdict)
	})
}

// A directory above a dump names it, also that of one rank or one step.
func TestNamed(t *testing.T) {
	for dump, below := range map[string]string{"pass": "TP0_PP0_Rank0_pid4711", "msprobe": "step0", "neuron": "dp0"} {
		dir := fixture.Dump(t, dump)
		if dump != "neuron" { // whose replicas lie in a folder of their own
			require.NotEmpty(t, open(t, filepath.Dir(dir)).Steps)
		}
		require.NotEmpty(t, open(t, filepath.Join(dir, below)).Steps)
	}
	one := open(t, filepath.Join(fixture.Dump(t, "msprobe"), "step1", "rank"))
	require.Len(t, one.Steps, 2)
	require.Contains(t, open(t, fixture.Session(t, "llama3-gqa-bf16")).Variant, il.VariantA)
	_, err := foreign.Open(t.TempDir())
	require.ErrorContains(t, err, "is not a session")
}

// Processes without ranks are ranks in the order of their numbers.
func TestProcesses(t *testing.T) {
	dir := fixture.Dump(t, "msprobe")
	for _, s := range []string{"step0", "step1"} {
		require.NoError(t, os.Rename(filepath.Join(dir, s, "rank"), filepath.Join(dir, s, "proc210")))
		require.NoError(t, os.CopyFS(filepath.Join(dir, s, "proc99"), os.DirFS(filepath.Join(dir, s, "proc210"))))
	}
	s := open(t, dir)
	require.Contains(t, strings.Join(s.Warnings, "\n"), "name processes and no ranks: taken as the ranks 0 to 1")
	files := s.Call(0, "model.norm", 0).Slot(il.Outputs, "0").Tensors
	require.Len(t, files, 2)
	require.Equal(t, "npu:0", files[0].Device)
	require.Contains(t, files[0].File, "proc99")
}
