package il

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/tensor"
)

// recorded returns what a call took or returned, with the recorded elements.
// Tensors that left a stub are zeros.
func recorded(t *testing.T, c *Call, d Direction) Value {
	v, err := c.Values(d)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	fill := func(path string, v Value) Value {
		meta, ok := v.(*tensor.Tensor)
		if !ok {
			return v
		}
		s := c.Slot(d, path)
		if s == nil || s.Stub != nil {
			return tensor.New(meta.DType, meta.Shape...)
		}
		x, done, err := s.Tensors[0].Open()
		require.NoError(t, err)
		t.Cleanup(func() { done.Close() })
		return x
	}
	tuple, ok := v.(Tuple)
	if !ok {
		return fill("", v)
	}
	for i := range tuple {
		tuple[i] = fill(string(rune('0'+i)), tuple[i])
	}
	return tuple
}

// replay runs a recorded session through a logger.
func replay(t *testing.T, s *Session, cfg *Config, device string) *Session {
	t.Helper()
	cfg.OutputDir = t.TempDir()
	l, err := NewLogger(cfg, LoggerOptions{DeviceLabel: device})
	require.NoError(t, err)
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			args, out := recorded(t, c, Inputs).(Tuple), recorded(t, c, Outputs)
			require.Equal(t, len(args), len(l.Pre(c.Module, args)))
			if after := recorded(t, c, PostFwdInputs); after != nil {
				args = after.(Tuple)
			}
			l.Post(c.Module, args, out)
		}
		require.NoError(t, l.StepDone())
	}
	require.NoError(t, l.Close())
	require.Empty(t, l.Warnings())
	again, err := Open(l.Dir())
	require.NoError(t, err)
	require.Empty(t, again.Warnings)
	require.Equal(t, VariantA, again.Variant)
	return again
}

// tree reads all files below a directory: tensors by their logical bytes.
func tree(t *testing.T, dir string) map[string]string {
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		require.NoError(t, err)
		name, err := filepath.Rel(dir, path)
		require.NoError(t, err)
		switch {
		case e.IsDir():
			out[name] = "directory"
		case strings.HasSuffix(name, ".pt"):
			x, done, err := (&TensorFile{File: path}).Open()
			require.NoError(t, err)
			out[name] = x.String() + string(x.Bytes())
			require.NoError(t, done.Close())
		default:
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			out[name] = string(b)
		}
		return nil
	}))
	return out
}

// requireTree compares directories file by file.
func requireTree(t *testing.T, want, got map[string]string) {
	t.Helper()
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	for name := range want {
		require.True(t, want[name] == got[name], "%s differs", name)
	}
}

// TestReplayFixtures writes sessions again that PyTorch wrote, and finds the
// same names, side files and tensors.
func TestReplayFixtures(t *testing.T) {
	for name, device := range map[string]string{"llama3-gqa-bf16": "cuda:0", "llama3-gqa-fp64": "cpu", "qwen2-bias-bf16": "cuda:0", "gopher-1m-bf16": "cuda:0"} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.LogStepIDs = nil
			s := open(t, name)
			requireTree(t, tree(t, s.Dir), tree(t, replay(t, s, cfg, device).Dir))
		})
	}
}

// TestReplayStubs: max_tensor_size and log_post_fwd_inputs. The fixture was
// written on a CPU that labels its files cuda_0, and its stubs say so.
func TestReplayStubs(t *testing.T) {
	cfg, err := ParseConfig("", []byte(`{"max_tensor_size": 1000, "log_post_fwd_inputs": true}`))
	require.NoError(t, err)
	s := open(t, "llama3-gqa-bf16-max1000")
	want, got := tree(t, s.Dir), tree(t, replay(t, s, cfg, "cuda:0").Dir)
	n := 0
	for name, text := range want {
		if stub := strings.Replace(text, `"device": "cpu"`, `"device": "cuda:0"`, 1); stub != text {
			want[name] = stub
			n++
		}
	}
	require.Equal(t, 21, n)
	requireTree(t, want, got)
}

// filtered is the configuration of a fixture: the example of the feature's
// document.
const filtered = `{"module_call_match": ["layers\\.0\\.(?!.*rotary_emb).*", "rotary_emb:0", "embed_tokens", "model\\.norm"],
	"log_step_ids": [0, 1], "device_names": ["cuda:0"]}`

// TestReplayFiltered: the example selects what the GPU logger selected, except
// for its bug that ":0" logs the inputs of call 1.
func TestReplayFiltered(t *testing.T) {
	cfg, err := ParseConfig("", []byte(filtered))
	require.NoError(t, err)
	want := tree(t, open(t, "llama3-gqa-bf16-filtered").Dir)
	for _, step := range []string{"step_0", "step_1"} {
		bug := filepath.Join(step, "model.layers.0.self_attn.rotary_emb_1")
		for _, f := range []string{"", "inputs.json", "inputs_0_cuda_0.pt", "inputs_1_cuda_0.pt", "inputs_2_cuda_0.pt"} {
			require.Contains(t, want, filepath.Join(bug, f))
			delete(want, filepath.Join(bug, f))
		}
		list := filepath.Join(step, callsFile)
		want[list] = strings.Replace(want[list], "model.layers.0.self_attn.rotary_emb_1\n", "", 1)
	}
	requireTree(t, want, tree(t, replay(t, open(t, "llama3-gqa-bf16"), cfg, "").Dir))
}

func newLogger(t *testing.T, config string, opts LoggerOptions) *Logger {
	t.Helper()
	cfg, err := ParseConfig("", []byte(config))
	require.NoError(t, err)
	cfg.OutputDir = filepath.Join(t.TempDir(), "out")
	l, err := NewLogger(cfg, opts)
	require.NoError(t, err)
	return l
}

func ones(n int) *tensor.Tensor {
	return tensor.FromFloat32s(tensor.Float32, slices.Repeat([]float32{1}, n), n)
}

// names lists the files below a directory that are no side files.
func names(t *testing.T, dir string) []string {
	var out []string
	for name, text := range tree(t, dir) {
		if text != "directory" && !slices.Contains([]string{"inputs.json", "outputs.json", callsFile}, filepath.Base(name)) {
			out = append(out, filepath.ToSlash(name))
		}
	}
	slices.Sort(out)
	return out
}

func TestLoggerNested(t *testing.T) {
	l := newLogger(t, `{"max_tensor_size": 4}`, LoggerOptions{SessionID: "s"})
	require.Equal(t, filepath.Join(l.cfg.OutputDir, "s"), l.Dir())
	args := Tuple{nil, Object{"X", "X()"}, List{ones(1), Tuple{nil, ones(2)}}, Dict{{"mask", ones(3)}, {"big", ones(5)}}, 3, (*tensor.Tensor)(nil)}
	require.Equal(t, args, l.Pre("m", args), "None and objects stay as they are, and so do large tensors")
	l.Post("m", args, Dict{{"last_hidden_state", ones(1)}})
	l.Pre("m", Tuple{})
	l.Post("m", nil, ones(9))
	l.Pre("sub.m", Tuple{ones(1)})
	require.NoError(t, l.Close())
	require.Equal(t, 3, l.Logged())
	require.Equal(t, []string{
		"step_0/m/inputs_2_0_cpu.pt", "step_0/m/inputs_2_1_1_cpu.pt", "step_0/m/inputs_3_big.json", "step_0/m/inputs_3_mask_cpu.pt",
		"step_0/m/outputs_last_hidden_state_cpu.pt", "step_0/sub.m/inputs_0_cpu.pt",
	}, names(t, l.Dir()))
	files := tree(t, l.Dir())
	require.Equal(t, "m\nm_1\nsub.m\n", files[filepath.Join("step_0", callsFile)])
	require.Contains(t, files[filepath.Join("step_0", "m_1", "outputs.json")], `"skipped": "Tensor size 9 exceeds max_tensor_size 4"`)
	require.Equal(t, "{\n  \"type\": \"tuple\",\n  \"items\": []\n}", files[filepath.Join("step_0", "m_1", "inputs.json")])

	s, err := Open(l.Dir())
	require.NoError(t, err)
	require.Equal(t, []string{"inputs/2_0=cpu", "inputs/2_1_1=cpu", "inputs/3_big=stub", "inputs/3_mask=cpu", "outputs/last_hidden_state=cpu"}, slots(s.Steps[0].Calls[0]))
}

// TestLoggerSteps: steps that are not selected are counted and not logged;
// calls are counted from 0 in each.
func TestLoggerSteps(t *testing.T) {
	l := newLogger(t, `{"log_step_ids": [1, 2], "module_call_match": ["m:1", "n"]}`, LoggerOptions{Only: func(step int, module string, call int, _ Direction) bool { return module != "n" || call == 0 }})
	id, err := uuid.Parse(filepath.Base(l.Dir()))
	require.NoError(t, err)
	require.EqualValues(t, 4, id.Version())
	for range 3 {
		for _, m := range []string{"m", "m", "m", "n", "n", "other"} {
			l.Pre(m, Tuple{ones(1)})
			l.Post(m, nil, ones(1))
		}
		require.NoError(t, l.StepDone())
	}
	l.Post("n", nil, ones(1)) // without its Pre
	require.NoError(t, l.Close())
	require.Equal(t, []string{
		"step_1/m_1/inputs_0_cpu.pt", "step_1/m_1/outputs_cpu.pt", "step_1/n/inputs_0_cpu.pt", "step_1/n/outputs_cpu.pt",
		"step_2/m_1/inputs_0_cpu.pt", "step_2/m_1/outputs_cpu.pt", "step_2/n/inputs_0_cpu.pt", "step_2/n/outputs_cpu.pt",
	}, names(t, l.Dir()))
	require.Equal(t, 4, l.Logged())
}

func TestLoggerNothingLogged(t *testing.T) {
	for _, config := range []string{`{"enabled": false}`, `{"log_step_ids": [7]}`, `{"module_call_match": ["zzz"]}`} {
		l := newLogger(t, config, LoggerOptions{})
		l.Pre("m", Tuple{ones(1)})
		l.Post("m", nil, ones(1))
		require.NoError(t, l.StepDone())
		require.NoError(t, l.Close())
		require.Zero(t, l.Logged())
		require.Empty(t, names(t, l.Dir()))
	}
}

// TestLoggerDevice: a filtered device writes no tensor, but is in the JSON.
func TestLoggerDevice(t *testing.T) {
	l := newLogger(t, `{"device_names": ["cuda:1"]}`, LoggerOptions{DeviceLabel: "cuda:0"})
	l.Pre("m", Tuple{ones(2)})
	require.NoError(t, l.Close())
	require.Empty(t, names(t, l.Dir()))
	require.Contains(t, tree(t, l.Dir())[filepath.Join("step_0", "m", "inputs.json")], `"numel": 2`)
	require.Equal(t, []string{"device_names (cuda:1) leaves out cuda:0, the device of every tensor: no tensor is written"}, l.Warnings())

	l = newLogger(t, `{"device_names": ["cuda:1"]}`, LoggerOptions{})
	l.Pre("m", Tuple{ones(2)})
	require.NoError(t, l.Close())
	require.Equal(t, []string{"step_0/m/inputs_0_cuda_1.pt"}, names(t, l.Dir()))
}

// TestReload: logged inputs are those of another session, as copies.
func TestReload(t *testing.T) {
	from := newLogger(t, `{}`, LoggerOptions{})
	from.Pre("m", Tuple{ones(2), List{ones(3)}})
	from.Pre("half", Tuple{tensor.New(tensor.Float16, 2)})
	from.Pre("shape", Tuple{ones(2)})
	require.NoError(t, from.Close())

	start := func() *Logger {
		return newLogger(t, `{"reload_input_dir": "`+filepath.ToSlash(from.Dir())+`"}`, LoggerOptions{})
	}
	l := start()
	zeros := Tuple{tensor.New(tensor.Float32, 2), List{tensor.New(tensor.Float32, 3)}, nil, tensor.New(tensor.Float32, 1), Object{"X", ""}}
	got := l.Pre("m", zeros)
	require.Equal(t, ones(2), got[0])
	require.Equal(t, List{ones(3)}, got[1])
	require.Nil(t, got[2])
	require.Same(t, zeros[3], got[3], "not recorded: its own value")
	require.Equal(t, zeros[4], got[4])
	got.Tensor(0).Data[0] = 7 // a module writes to its arguments
	require.NoError(t, l.Close())
	require.Equal(t, ones(2).String()+string(make([]byte, 8)), tree(t, l.Dir())[filepath.Join("step_0", "m", "inputs_0_cpu.pt")], "the log has the run's own value")
	require.Equal(t, []string{"reload_input_dir holds 2 of 3 inputs, the others kept their own values: the first that it lacks is " +
		filepath.Join(from.Dir(), "step_0", "m", "inputs_3_cpu.pt")}, l.Warnings())

	l = start()
	l.Pre("half", Tuple{ones(2)})
	require.EqualError(t, l.Err(), "reload_input_dir: "+filepath.Join(from.Dir(), "step_0", "half", "inputs_0_cpu.pt")+" is float16[2], expected float32[2] as in this run")
	l = start()
	l.Pre("shape", Tuple{ones(3)})
	require.EqualError(t, l.Err(), "reload_input_dir: "+filepath.Join(from.Dir(), "step_0", "shape", "inputs_0_cpu.pt")+" is float32[2], expected float32[3] as in this run")

	cfg := DefaultConfig()
	cfg.OutputDir, cfg.ReloadInputDir = filepath.Join(t.TempDir(), "new"), from.cfg.OutputDir
	_, err := NewLogger(cfg, LoggerOptions{})
	require.EqualError(t, err, "reload_input_dir: "+from.cfg.OutputDir+" is not a session: expected the directories step_0, step_1, … in it")
	require.NoDirExists(t, cfg.OutputDir)
}

func TestNewLoggerErrors(t *testing.T) {
	top := t.TempDir()
	start := func(out string, opts LoggerOptions) error {
		cfg := DefaultConfig()
		cfg.OutputDir = out
		_, err := NewLogger(cfg, opts)
		return err
	}
	write(t, "x", top, "full", "s", "step_0", "f")
	write(t, "x", top, "file")
	require.NoError(t, os.MkdirAll(filepath.Join(top, "empty", "s"), 0o755))
	require.NoError(t, start(filepath.Join(top, "empty"), LoggerOptions{SessionID: "s"}))
	for _, tc := range []struct {
		out  string
		opts LoggerOptions
		want string
	}{
		{"full", LoggerOptions{SessionID: "s"}, "session directory " + filepath.Join(top, "full", "s") + " exists already and is not empty: give another id, or remove it"},
		{"file", LoggerOptions{SessionID: "s"}, "session directory " + filepath.Join(top, "file", "s") + " cannot be written: not a directory"},
		{"new", LoggerOptions{SessionID: ".."}, `session id ".." cannot be the name of a directory: expected letters, digits, '.', '_' and '-'`},
		{"new", LoggerOptions{SessionID: "a/b"}, `session id "a/b" cannot be the name of a directory: expected letters, digits, '.', '_' and '-'`},
		{"new", LoggerOptions{DeviceLabel: "cuda_0"}, `device label "cuda_0": expected a device as "cuda:0" or "cpu"`},
	} {
		require.EqualError(t, start(filepath.Join(top, tc.out), tc.opts), tc.want)
	}
	// A name that no file system takes fails after "new" is made.
	require.ErrorContains(t, start(filepath.Join(top, "new", strings.Repeat("x", 300)), LoggerOptions{SessionID: "s"}), "/s cannot be written: ")
	require.NoDirExists(t, filepath.Join(top, "new"))
}

// TestNewLoggerReadOnly: a directory without write permission is one line, and
// nothing is left of the directories that were made on the way.
func TestNewLoggerReadOnly(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root writes everywhere")
	}
	top := t.TempDir()
	require.NoError(t, os.Chmod(top, 0o555))
	cfg := DefaultConfig()
	cfg.OutputDir = filepath.Join(top, "a", "b")
	_, err := NewLogger(cfg, LoggerOptions{SessionID: "s"})
	require.ErrorContains(t, err, "session directory "+filepath.Join(top, "a", "b", "s")+" cannot be written: "+filepath.Join(top, "a")+": permission denied")
}

// TestLoggerFailureSticks: the first failure names its file and ends logging.
func TestLoggerFailureSticks(t *testing.T) {
	for _, tc := range []struct {
		block string // a directory where a file has to go, or below a file
		args  Tuple
		want  string
	}{
		{"step_0/m/inputs_0_cpu.pt/x", Tuple{ones(1)}, "write DIR/step_0/m/inputs_0_cpu.pt: "},
		{"step_0/m/inputs.json/x", Tuple{ones(1)}, "write DIR/step_0/m/inputs.json: "},
		{"step_0/module_calls.txt/x", Tuple{ones(1)}, "write DIR/step_0/module_calls.txt: "},
		{"step_0", Tuple{ones(1)}, "write DIR/step_0: not a directory"},
		{"", Tuple{Dict{{"a/b", ones(1)}}}, `write DIR/step_0/m/inputs_0: the dict key "a/b" cannot be part of a file name`},
		{"", Tuple{int8(1)}, "write DIR/step_0/m/inputs.json: a value of type int8 cannot be logged"},
	} {
		l := newLogger(t, `{"log_step_ids": []}`, LoggerOptions{})
		if tc.block != "" {
			write(t, "", l.Dir(), tc.block)
		}
		require.Equal(t, tc.args, l.Pre("m", tc.args), "the run goes on")
		want := strings.ReplaceAll(tc.want, "DIR", l.Dir())
		require.ErrorContains(t, l.Err(), want)
		first := l.Err()
		before := names(t, l.Dir())
		l.Post("m", nil, ones(1))
		l.Pre("n", Tuple{ones(1)})
		require.Equal(t, before, names(t, l.Dir()))
		require.Equal(t, first, l.StepDone())
		require.Equal(t, first, l.Close())
		for _, name := range names(t, l.Dir()) {
			require.NotContains(t, name, tempSuffix)
		}
	}
	l := newLogger(t, `{}`, LoggerOptions{})
	l.Pre("../m", Tuple{})
	require.EqualError(t, l.Err(), `module "../m": the name cannot be that of a directory`)
}

// TestLoggerGivesUp: a pattern that runs out of backtracking ends logging.
func TestLoggerGivesUp(t *testing.T) {
	l := newLogger(t, `{"module_call_match": ["(?:ab|ac)+$"]}`, LoggerOptions{})
	l.Pre(strings.Repeat("abac", 1e5)+".", Tuple{})
	require.ErrorContains(t, l.Err(), "il config: module_call_match: pattern")
}

// TestFullDisk: a list of calls never ends within a line.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full")
	}
	c := callList{f: full}
	require.EqualError(t, c.add("step_0", "m"), "write "+filepath.Join("step_0", callsFile)+": no space left on device")
}
