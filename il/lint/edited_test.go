package lint

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/tensor"
)

const plain = "llama3-gqa-bf16"

// edit is a copy of a session to work on. Its files are links: replace them,
// never write into them.
type edit struct {
	t   *testing.T
	dir string
}

func copyOf(t *testing.T, name string) edit {
	t.Helper()
	from, to := sessions.Session(t, name), filepath.Join(t.TempDir(), "session")
	require.NoError(t, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		return os.Link(path, filepath.Join(to, rel))
	}))
	return edit{t, to}
}

func (e edit) path(name string) string { return filepath.Join(e.dir, filepath.FromSlash(name)) }

func (e edit) remove(names ...string) {
	for _, n := range names {
		found, err := filepath.Glob(e.path(n))
		require.NoError(e.t, err)
		require.NotEmpty(e.t, found, n)
		for _, p := range found {
			require.NoError(e.t, os.RemoveAll(p))
		}
	}
}

func (e edit) write(name, text string) {
	_ = os.Remove(e.path(name))
	require.NoError(e.t, os.WriteFile(e.path(name), []byte(text), 0o644))
}

func (e edit) text(name string) string {
	b, err := os.ReadFile(e.path(name))
	require.NoError(e.t, err)
	return string(b)
}

func (e edit) copy(from, to string) { e.write(to, e.text(from)) }

// keyword records the first argument of a call of step 0 as a keyword too, of
// which the side file says as much.
func (e edit) keyword(call, said string) {
	e.copy("step_0"+call+"inputs_0_cuda_0.pt", "step_0"+call+"inputs_scale_cuda_0.pt")
	side := strings.TrimRight(e.text("step_0"+call+"inputs.json"), "}\n ")
	e.write("step_0"+call+"inputs.json", side+`, "kwargs": `+said+"}")
}

// values replaces a tensor by what change makes of its values.
func (e edit) values(name string, change func(v []float64)) {
	x := e.read(name)
	v := make([]float64, x.Numel())
	require.NoError(e.t, x.Float64s(v, 0))
	change(v)
	y := x
	if x.DType.IsInt() {
		ints := make([]int, len(v))
		for i := range v {
			ints[i] = int(v[i])
		}
		y = tensor.FromInts(x.DType, ints, x.Shape...)
	} else {
		y = tensor.FromFloat64s(x.DType, v, x.Shape...)
	}
	e.store(name, y)
}

func (e edit) read(name string) *tensor.Tensor {
	x, closer, err := pt.OpenTensor(e.path(name))
	require.NoError(e.t, err, name)
	defer closer.Close()
	return x.Clone()
}

func (e edit) store(name string, x *tensor.Tensor) {
	require.NoError(e.t, pt.WriteFile(e.path(name), x))
}

func set(at int, to float64) func([]float64) {
	return func(v []float64) { v[at] = to }
}

func scaled(by float64) func([]float64) {
	return func(v []float64) {
		for i := range v {
			v[i] *= by
		}
	}
}

// lines keeps or changes the lines of a module_calls.txt.
func (e edit) lines(step string, change func([]string) []string) {
	name := step + "/module_calls.txt"
	l := strings.Split(strings.TrimSuffix(e.text(name), "\n"), "\n")
	e.write(name, strings.Join(change(l), "\n")+"\n")
}

func without(name string) func([]string) []string {
	return func(l []string) (out []string) {
		for _, x := range l {
			if x != name {
				out = append(out, x)
			}
		}
		return out
	}
}

// wanted is a finding by what matters: where it is and a part of its sentence.
type wanted struct {
	severity Severity
	rule     string
	step     int
	at       string // "module slot"
	says     string
}

func (w wanted) is(f Finding) bool {
	at := ""
	if f.Module != "" {
		at = il.CallName(f.Module, f.Call)
	}
	if f.Direction != "" {
		at += " " + slotName(f.Direction, f.Slot)
	}
	return w.severity == f.Severity && w.rule == f.Rule && w.step == f.Step && w.at == at && strings.Contains(f.Message, w.says)
}

func (e edit) want(exact bool, ws ...wanted) *Result {
	e.t.Helper()
	r := run(e.t, e.dir)
	left := r.Findings
	for _, w := range ws {
		i := -1
		for j, f := range left {
			if w.is(f) {
				i = j
			}
		}
		if i < 0 {
			e.t.Errorf("missing: %+v", w)
			continue
		}
		left = append(append([]Finding{}, left[:i]...), left[i+1:]...)
	}
	for _, f := range left {
		if exact {
			e.t.Errorf("unexpected: %+v", f)
		} else {
			e.t.Logf("also: %+v", f)
		}
	}
	require.False(e.t, e.t.Failed())
	return r
}
