package il

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/tensor"
)

func open(t *testing.T, name string) *Session {
	t.Helper()
	s, err := Open(fixture.Session(t, name))
	require.NoError(t, err)
	return s
}

// find returns a call of a step.
func find(t *testing.T, s *Session, step int, module string, index int) *Call {
	t.Helper()
	for _, c := range s.Steps[step].Calls {
		if c.Module == module && c.Index == index {
			return c
		}
	}
	t.Fatalf("no call %d of %s in step %d", index, module, step)
	return nil
}

// slots lists "direction/path=device,device".
func slots(c *Call) []string {
	out := []string{}
	for _, s := range c.Slots {
		var devices []string
		for _, f := range s.Tensors {
			devices = append(devices, f.Device)
		}
		if s.Stub != nil {
			devices = append(devices, "stub")
		}
		out = append(out, string(s.Direction)+"/"+s.Path+"="+strings.Join(devices, ","))
	}
	return out
}

func TestOpenFixture(t *testing.T) {
	s := open(t, "llama3-gqa-bf16")
	require.Equal(t, VariantA, s.Variant)
	require.Empty(t, s.Warnings)
	require.Len(t, s.Steps, 4)
	var names []string
	for i, st := range s.Steps {
		require.Equal(t, i, st.Number)
		names = append(names, st.Calls[0].Module)
	}
	require.Equal(t, []string{"model.embed_tokens", "logits_processor", "logits_processor", "logits_processor"}, names)
	require.Len(t, s.Steps[0].Calls, 38)
	require.Len(t, s.Steps[3].Calls, 1)

	rope := find(t, s, 1, "model.layers.0.self_attn.rotary_emb", 2)
	require.Equal(t, filepath.Join(s.Dir, "step_1", "model.layers.0.self_attn.rotary_emb_2"), rope.Dir)
	require.Equal(t, []string{"inputs/0=cuda:0", "inputs/1=cuda:0", "inputs/2=cuda:0", "outputs/0=cuda:0", "outputs/1=cuda:0"}, slots(rope))
	at := slices.Index(s.Steps[1].Calls, rope)
	require.Equal(t, "model.layers.2.self_attn.attn", s.Steps[1].Calls[at+1].Module, "execution order, not alphabetical")
	require.Equal(t, []string{"outputs/=cuda:0"}, slots(find(t, s, 0, "model.layers.0.self_attn", 0)))
	require.True(t, s.Holds(0, "model.layers.0.self_attn.rotary_emb", 2))
	require.False(t, s.Holds(0, "model.layers.0.self_attn.rotary_emb", 3) || s.Holds(9, "model.norm", 0))

	q, done, err := rope.Slot(Inputs, "1").Tensors[0].Open()
	require.NoError(t, err)
	defer done.Close()
	require.Equal(t, "bfloat16[1,64]", q.String())
	require.Equal(t, []int{96, 1}, q.Stride, "a view of qkv")
	require.Nil(t, rope.Slot(Inputs, "3"))
}

// TestOpenEverything opens every tensor of every fixture, and holds shape and
// type against the side files.
func TestOpenEverything(t *testing.T) {
	for name, ranks := range map[string]int{
		"llama3-gqa-bf16": 1, "llama3-gqa-bf16-tp2": 2, "llama3-gqa-bf16-filtered": 1, "llama3-gqa-fp64": 1, "llama3-gqa-bf16-max1000": 1, "gopher-1m-bf16": 1, "qwen2-bias-bf16": 1,
	} {
		s := open(t, name)
		require.Empty(t, s.Warnings)
		n := 0
		for _, st := range s.Steps {
			for _, c := range st.Calls {
				for _, slot := range c.Slots {
					v, err := c.Values(slot.Direction)
					require.NoError(t, err)
					meta := at(v, slot.Path)
					require.NotNil(t, meta, "%s %s", c.Dir, slot.Path)
					if slot.Stub != nil {
						require.Equal(t, meta.Shape, slot.Stub.Shape)
						require.Empty(t, slot.Tensors)
						continue
					}
					require.Len(t, slot.Tensors, ranks)
					for _, f := range slot.Tensors {
						x, done, err := f.Open()
						require.NoError(t, err)
						require.Equal(t, meta.DType, x.DType)
						if ranks == 1 { // ranks overwrite each other's side files
							require.Equal(t, meta.String(), x.String())
						}
						require.NoError(t, done.Close())
						n++
					}
				}
			}
		}
		require.Greater(t, n, 50, name)
	}
}

// at follows "", "0" into a value.
func at(v Value, path string) *tensor.Tensor {
	if tuple, ok := v.(Tuple); ok && path != "" {
		v = tuple[int(path[0]-'0')]
	}
	x, _ := v.(*tensor.Tensor)
	return x
}

func TestValues(t *testing.T) {
	s := open(t, "llama3-gqa-bf16")
	v, err := find(t, s, 0, "model.layers.0", 0).Values(Inputs)
	require.NoError(t, err)
	args := v.(Tuple)
	require.Len(t, args, 3)
	require.Equal(t, "int64[11]", args.Tensor(0).String())
	require.True(t, args.Tensor(1).Meta)
	require.Nil(t, args[2])
	v, err = find(t, s, 1, "logits_processor", 0).Values(Inputs)
	require.NoError(t, err)
	require.Equal(t, Object{"ParallelLMHead", "ParallelLMHead()"}, v.(Tuple)[0])
	v, err = find(t, s, 0, "model.layers.1.self_attn", 0).Values(Inputs)
	require.NoError(t, err)
	require.Equal(t, Tuple{}, v)
	_, err = find(t, s, 0, "model.layers.1.self_attn", 0).Values(PostFwdInputs)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestStubs(t *testing.T) {
	s := open(t, "llama3-gqa-bf16-max1000")
	act := find(t, s, 0, "model.layers.0.mlp.act_fn", 0)
	require.Equal(t, []string{"inputs/0=stub", "outputs/=stub", "post_fwd_inputs/0=stub"}, slots(act))
	require.Equal(t, &Stub{Shape: []int{11, 176}, DType: tensor.BFloat16, Numel: 1936, Reason: "Tensor size 1936 exceeds max_tensor_size 1000"}, act.Slot(Outputs, "").Stub)
}

func TestRanks(t *testing.T) {
	s := open(t, "llama3-gqa-bf16-tp2")
	require.Len(t, s.Steps[0].Calls, 38, "lines of module_calls.txt count once")
	require.Equal(t, []string{"inputs/0=cuda:0,cuda:1", "outputs/0=cuda:0,cuda:1"}, slots(find(t, s, 0, "model.layers.0.mlp.down_proj", 0)))
}

// TestFiltered: inputs of rotary_emb_1 alone, as the GPU logger leaves them.
func TestFiltered(t *testing.T) {
	s := open(t, "llama3-gqa-bf16-filtered")
	require.Equal(t, []string{"inputs/0=cuda:0", "inputs/1=cuda:0", "inputs/2=cuda:0"}, slots(find(t, s, 1, "model.layers.0.self_attn.rotary_emb", 1)))
}

// TestVariantB: a session without its side files.
func TestVariantB(t *testing.T) {
	dir := fixture.Session(t, "llama3-gqa-bf16")
	remove(t, dir, func(p string) bool { return strings.HasSuffix(p, ".json") })
	s, err := Open(dir)
	require.NoError(t, err)
	require.Equal(t, VariantB, s.Variant)
	require.Empty(t, s.Warnings)
	_, err = s.Steps[0].Calls[0].Values(Inputs)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestLostLists: a session of a later logger without its module_calls.txt,
// layers by number. It is not taken for one of variant C, whose inputs lie
// elsewhere.
func TestLostLists(t *testing.T) {
	for name, filtered := range map[string]bool{"llama3-gqa-bf16": false, "llama3-gqa-bf16-filtered": true} {
		dir := fixture.Session(t, name)
		remove(t, dir, func(p string) bool { return strings.HasSuffix(p, callsFile) })
		if !filtered {
			require.NoError(t, os.Rename(filepath.Join(dir, "step_0/model.layers.2"), filepath.Join(dir, "step_0/model.layers.10")))
		}
		s, err := Open(dir)
		require.NoError(t, err)
		require.Equal(t, VariantA, s.Variant)
		require.Equal(t, []string{"no step has a module_calls.txt, though inputs lie as the later loggers write them: calls are in natural order of their names"}, s.Warnings)
		for _, c := range s.Steps[1].Calls {
			for _, slot := range c.Slots {
				require.Equal(t, c.Dir, filepath.Dir(slot.Tensors[0].File))
			}
		}
		if filtered {
			continue
		}
		var names []string
		for _, c := range s.Steps[0].Calls {
			names = append(names, c.Module)
		}
		require.Equal(t, "model.embed_tokens", names[0])
		require.Less(t, slices.Index(names, "model.layers.2.mlp"), slices.Index(names, "model.layers.10"))
	}
}

func remove(t *testing.T, dir string, match func(string) bool) {
	require.NoError(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err == nil && match(p) {
			err = os.Remove(p)
		}
		return err
	}))
}

// write makes a file and the directories above it.
func write(t *testing.T, text string, elem ...string) {
	t.Helper()
	path := filepath.Join(elem...)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func TestOpenParent(t *testing.T) {
	top := t.TempDir()
	write(t, "x", top, "one", "step_0", "a", "outputs_cpu.pt")
	write(t, "x", top, "notes", "readme")
	write(t, "x", top, "file")
	s, err := Open(top)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(top, "one"), s.Dir)

	write(t, "x", top, "two", "step_12", "a", "outputs_cpu.pt")
	_, err = Open(top)
	require.EqualError(t, err, top+" holds 2 sessions, name one of them: "+filepath.Join(top, "one")+", "+filepath.Join(top, "two"))
}

func TestNotASession(t *testing.T) {
	top := t.TempDir()
	_, err := Open(top)
	require.EqualError(t, err, top+" is not a session: expected the directories step_0, step_1, … in it, or one session below it")
	file := filepath.Join(top, "f")
	write(t, "", file)
	_, err = Open(file)
	require.EqualError(t, err, file+" is a file, expected a session directory (it holds step_0, step_1, …)")
	_, err = Open(filepath.Join(top, "no"))
	require.ErrorContains(t, err, filepath.Join(top, "no"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	step := filepath.Join(top, "s", "step_3")
	write(t, "", step, "a", "inputs.json")
	_, err = Open(step)
	require.EqualError(t, err, step+" is one step of a session: name the directory above it")
	call := filepath.Join(step, "a")
	_, err = Open(call)
	require.EqualError(t, err, call+" is one call of a session: name the directory above "+step)
	write(t, "PK", top, "session.ZIP")
	_, err = Open(filepath.Join(top, "session.ZIP"))
	require.EqualError(t, err, filepath.Join(top, "session.ZIP")+" is an archive: unpack it and name the session directory (it holds step_0, step_1, …)")
}

// TestUnprintableNames: what a terminal would obey is in no name of a session.
func TestUnprintableNames(t *testing.T) {
	dir := t.TempDir()
	step := filepath.Join(dir, "step_0")
	write(t, "model.norm\nred\x1b[31m\n", step, callsFile)
	write(t, "x", step, "model.norm", "outputs_cpu.pt")
	for _, path := range [][]string{
		{step, "model.\x1b[31mred", "outputs_cpu.pt"},
		{step, "two\nlines", "outputs_cpu.pt"},
		{step, "model.norm", "outputs_\x1b[2J_cpu.pt"},
		{dir, "step_\x07", "x"},
	} {
		if err := os.MkdirAll(filepath.Join(path[:len(path)-1]...), 0o755); err != nil {
			t.Skip("no such names on this system")
		}
		write(t, "x", path...)
	}
	s, err := Open(dir)
	require.NoError(t, err)
	require.Len(t, s.Steps, 1)
	require.Len(t, s.Steps[0].Calls, 1)
	require.Equal(t, []string{"outputs/=cpu"}, slots(s.Steps[0].Calls[0]))
	require.ElementsMatch(t, []string{
		filepath.Join(step, callsFile) + `: not the name of a module, ignored: "red\x1b[31m"`,
		step + `: not a module's directory, ignored: "model.\x1b[31mred", "two\nlines"`,
		filepath.Join(step, "model.norm") + `: not a file of a session, ignored: "outputs_\x1b[2J_cpu.pt"`,
		dir + `: not a step of a session, ignored: "step_\a"`,
	}, s.Warnings)
}

// TestOddEntries: nothing odd is lost without a word, and nothing of it is
// followed.
func TestOddEntries(t *testing.T) {
	top := t.TempDir()
	dir, out := filepath.Join(top, "s"), filepath.Join(top, "outside")
	step := filepath.Join(dir, "step_0")
	write(t, "b\nb\n../../etc\nzz\na\nhalf", step, callsFile)
	write(t, "", step, "a", "inputs_0_cuda_0.pt")
	write(t, "junk", step, "a", "inputs_1_cuda_0.pt")
	write(t, "x", step, "a", ".il-00.tmp")
	write(t, "x", step, "a", "notes.txt")
	write(t, "x", step, "a", "inputs_0.pt")
	write(t, "{", step, "a", "inputs_2.json")
	write(t, `{"type": "tensor", "shape": [-1], "dtype": "torch.int8", "numel": 1}`, step, "a", "outputs.json")
	write(t, "x", step, "b", "outputs_cpu.pt")
	write(t, "x", step, "unlisted", "outputs_cpu.pt")
	write(t, "x", step, "file")
	write(t, "x", dir, "step_01", "a", "x")
	write(t, "x", dir, "summary.json")
	write(t, "x", out, "outputs_cpu.pt")
	for link, to := range map[string]string{
		filepath.Join(step, "out"):                       out,
		filepath.Join(step, "a", "outputs_cpu.pt"):       filepath.Join(out, "outputs_cpu.pt"),
		filepath.Join(step, "a", "outputs_cuda_0.pt"):    filepath.Join(step, "b", "outputs_cpu.pt"),
		filepath.Join(step, "a", "outputs_cuda_1.pt"):    filepath.Join(step, "gone"),
		filepath.Join(step, "a", "post_fwd_inputs.json"): filepath.Join(out, "outputs_cpu.pt"),
	} {
		if err := os.Symlink(to, link); err != nil {
			t.Skip("no links on this system")
		}
	}
	require.NoError(t, os.MkdirAll(filepath.Join(step, "a", "outputs_meta.pt"), 0o755))

	s, err := Open(dir)
	require.NoError(t, err)
	var names []string
	for _, c := range s.Steps[0].Calls {
		names = append(names, c.Module)
	}
	require.Equal(t, []string{"b", "zz", "a", "unlisted"}, names)
	a := s.Steps[0].Calls[2]
	require.Equal(t, []string{"inputs/0=cpu,cuda:0", "inputs/1=cuda:0", "inputs/2=stub", "outputs/=cpu,cuda:0,cuda:1,meta"}, slots(a))

	in := func(elem ...string) string { return filepath.Join(append([]string{step}, elem...)...) }
	require.ElementsMatch(t, []string{
		in(callsFile) + ` ends within a line ("half"): the run that wrote it is still going, or died`,
		in(callsFile) + `: not the name of a module, ignored: "../../etc"`,
		in("out") + " is a link out of the session, to " + out + ": not followed",
		step + ": not a module's directory, ignored: file, out",
		step + ": listed in module_calls.txt, but without a directory: zz",
		step + ": not listed in module_calls.txt, taken as the last calls: unlisted",
		dir + ": not a step of a session, ignored: step_01, summary.json",
		in("a") + ": not a file of a session, ignored: notes.txt",
		in("a") + ": left by a run that is still going, or died: .il-00.tmp",
		in("a", "inputs_2.json") + ": the JSON ends too early: the run that wrote it is still going, or died",
		in("a", "outputs_cpu.pt") + " is a link out of the session, to " + filepath.Join(out, "outputs_cpu.pt") + ": not followed",
		in("a", "post_fwd_inputs.json") + " is a link out of the session, to " + filepath.Join(out, "outputs_cpu.pt") + ": not followed",
		in("a", "outputs_cuda_1.pt") + " is a broken link: lstat " + in("gone") + ": no such file or directory",
		in("a", "outputs_meta.pt") + " is not a regular file",
	}, s.Warnings)

	errs := map[string]string{}
	for _, slot := range a.Slots {
		for _, f := range slot.Tensors {
			_, _, err := f.Open()
			require.Error(t, err)
			errs[filepath.Base(f.File)] = err.Error()
		}
	}
	require.Equal(t, in("a", "inputs_0_cuda_0.pt")+" is empty: the run that wrote it is still going, or died, or its disk was full", errs["inputs_0_cuda_0.pt"])
	require.Contains(t, errs["inputs_1_cuda_0.pt"], in("a", "inputs_1_cuda_0.pt"))
	require.Contains(t, errs["outputs_cpu.pt"], "is a link out of the session")
	require.Contains(t, errs["outputs_cuda_1.pt"], "is a broken link")
	require.Contains(t, errs["outputs_meta.pt"], "is not a regular file")
	require.Contains(t, a.Slot(Inputs, "2").Stub.Reason, "the JSON ends too early")
	_, err = a.Values(Outputs)
	require.EqualError(t, err, in("a", "outputs.json")+": -1 is not a dimension")
}

func TestSplitCall(t *testing.T) {
	names := map[string]bool{"model.norm": true, "layers.0.expert": true, "layers.0.expert_1": true}
	for name, want := range map[string]callKey{
		"model.norm":                {module: "model.norm"},
		"model.norm_2":              {module: "model.norm", call: 2},
		"model.norm_0":              {module: "model.norm_0"},
		"model.norm_02":             {module: "model.norm_02"},
		"model.conv_1":              {module: "model.conv_1"},
		"a.rotary_emb_12":           {module: "a.rotary_emb", call: 12},
		"logits_processor_1":        {module: "logits_processor", call: 1},
		"layers.0.expert_1_3":       {module: "layers.0.expert_1", call: 3},
		"my_logits_processor_1":     {module: "my_logits_processor_1"},
		"_1":                        {module: "_1"},
		"norm_99999999999999999999": {module: "norm_99999999999999999999"},
		"a.rotary_emb_4294967296":   {module: "a.rotary_emb_4294967296"},
	} {
		module, call := splitCall(name, names)
		require.Equal(t, want, callKey{module: module, call: call}, name)
	}
}

func TestParseFileName(t *testing.T) {
	for name, want := range map[string]fileName{
		"inputs_0_cuda_0.pt":                    {tensorFile, Inputs, "0", "cuda:0"},
		"outputs_cuda_0.pt":                     {tensorFile, Outputs, "", "cuda:0"},
		"outputs_cpu.pt":                        {tensorFile, Outputs, "", "cpu"},
		"outputs_0_cpu.pt":                      {tensorFile, Outputs, "0", "cpu"},
		"outputs_cpu_0.pt":                      {tensorFile, Outputs, "", "cpu:0"},
		"outputs_cpu_cpu.pt":                    {tensorFile, Outputs, "cpu", "cpu"},
		"outputs_last_hidden_state_npu_12.pt":   {tensorFile, Outputs, "last_hidden_state", "npu:12"},
		"outputs_hidden_0_1_privateuseone_0.pt": {tensorFile, Outputs, "hidden_0_1", "privateuseone:0"},
		"inputs_0_1_meta.pt":                    {tensorFile, Inputs, "0_1", "meta"},
		"post_fwd_inputs_2_mps_0.pt":            {tensorFile, PostFwdInputs, "2", "mps:0"},
		"inputs_3_warp9.pt":                     {tensorFile, Inputs, "3", "warp9"},
		"outputs.pt":                            {tensorFile, Outputs, "", "cpu"}, // the smallest layout names no device
		"inputs_0.pt":                           {tensorFile, Inputs, "0", "cpu"},
		"inputs_0_1.pt":                         {tensorFile, Inputs, "0_1", "cpu"},
		"inputs.json":                           {kind: sideFile, direction: Inputs},
		"post_fwd_inputs.json":                  {kind: sideFile, direction: PostFwdInputs},
		"inputs_0.json":                         {kind: stubFile, direction: Inputs, slot: "0"},
		"outputs_a_1.json":                      {kind: stubFile, direction: Outputs, slot: "a_1"},
	} {
		got, ok := parseFileName(name)
		require.True(t, ok, name)
		require.Equal(t, want, got, name)
	}
	for _, name := range []string{
		"", ".pt", "inputs.pt", "inputs_.pt", "outputs__.pt", "outputs_0_.pt", "input_0_cpu.pt", "inputsx_cpu.pt", "outputs__cpu.pt", "inputs_0_cuda_0.PT", "inputs_.json",
		"module_calls.txt", "inputs_0_cuda_0.pt.tmp", "inputs_0_cu:da.pt", "inputs_0_.pt",
	} {
		_, ok := parseFileName(name)
		require.False(t, ok, name)
	}
}

// FuzzParseFileName: a name that is taken is one that the logger would write.
func FuzzParseFileName(f *testing.F) {
	f.Add("inputs_0_cuda_0.pt")
	f.Add("post_fwd_inputs_a_b_1_cpu.pt")
	f.Add("outputs_0.json")
	f.Fuzz(func(t *testing.T, name string) {
		p, ok := parseFileName(name)
		if !ok {
			return
		}
		again := fileBase(p.direction, p.slot)
		if p.kind == tensorFile {
			again += "_" + deviceSuffix(p.device) + ".pt"
		} else {
			again += ".json"
		}
		if p.device == unnamedDevice && name != again { // which the smallest layout leaves out
			again = fileBase(p.direction, p.slot) + ".pt"
		}
		require.Equal(t, name, again)
	})
}

func FuzzDecodeSide(f *testing.F) {
	f.Add([]byte(`{"type": "tuple", "items": [{"type": "tensor", "shape": [11], "dtype": "torch.int64", "numel": 11}, null, {"type": "X", "string_repr": "\ud800"}]}`))
	f.Add([]byte(`{"type": "dict", "length": 30, "keys": ["a"], "sample": {"a": 1.5, "b": true}, "note": ""}`))
	f.Add([]byte(`{"type": "tuple", "items": [], "kwargs": {"position_ids": {"type": "tensor", "shape": [1, 2], "dtype": "torch.int64", "numel": 2}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := decodeSide(data)
		if err == nil {
			_, err = encodeSide(v)
			require.NoError(t, err)
		}
		if d, err := decodeKeywords(data); err == nil && d != nil {
			_, err = encodeSide(d)
			require.NoError(t, err)
		}
	})
}

func TestNaturalCompare(t *testing.T) {
	sorted := []string{"", "a", "a02", "a2", "a10", "a10b", "layers.2", "layers.2.mlp", "layers.10", "m"}
	for i, a := range sorted {
		for j, b := range sorted {
			got := NaturalCompare(a, b)
			require.Equal(t, i < j, got < 0, "%q %q", a, b)
			require.Equal(t, i == j, got == 0, "%q %q", a, b)
		}
	}
}
