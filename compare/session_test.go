package compare

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/tensor"
)

var sessions fixture.Sessions

func TestMain(m *testing.M) { sessions.Main(m) }

// open reads a session of PyTorch.
func open(t *testing.T, name string) *il.Session {
	t.Helper()
	return openDir(t, sessions.Session(t, name))
}

func openDir(t *testing.T, dir string) *il.Session {
	t.Helper()
	s, err := il.Open(dir)
	require.NoError(t, err)
	return s
}

// base is the session that the tests change, and steps the part of it that
// they copy.
const base = "llama3-gqa-bf16"

// copySteps makes a session of steps of another, without its side files (the
// logger's variant B). Files are links: replace them, never write into them.
func copySteps(t *testing.T, from *il.Session, steps ...int) string {
	t.Helper()
	to := t.TempDir()
	for _, st := range from.Steps {
		if !slices.Contains(steps, st.Number) {
			continue
		}
		step := filepath.Join(to, fmt.Sprintf("step_%d", st.Number))
		for _, c := range st.Calls {
			dir := filepath.Join(step, filepath.Base(c.Dir))
			require.NoError(t, os.MkdirAll(dir, 0o755))
			for _, s := range c.Slots {
				for _, f := range s.Tensors {
					require.NoError(t, os.Link(f.File, filepath.Join(dir, filepath.Base(f.File))))
				}
			}
		}
		calls, err := os.ReadFile(filepath.Join(from.Dir, filepath.Base(step), "module_calls.txt"))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(step, "module_calls.txt"), calls, 0o644))
	}
	return to
}

// edited opens a copy of two steps that change has worked on.
func edited(t *testing.T, from *il.Session, change func(dir string)) *il.Session {
	t.Helper()
	dir := copySteps(t, from, 0, 1)
	change(dir)
	return openDir(t, dir)
}

// rewrite replaces a tensor file by what change makes of its values.
func rewrite(t *testing.T, path string, change func(v []float64)) {
	t.Helper()
	old, closer, err := pt.OpenTensor(path)
	require.NoError(t, err)
	v := make([]float64, old.Numel())
	require.NoError(t, old.Float64s(v, 0))
	d, shape, device := old.DType, old.Shape, old.Device
	require.NoError(t, closer.Close())
	change(v)
	var x *tensor.Tensor
	if d.IsInt() {
		ints := make([]int, len(v))
		for i := range v {
			ints[i] = int(v[i])
		}
		x = tensor.FromInts(d, ints, shape...)
	} else {
		x = tensor.FromFloat64s(d, v, shape...)
	}
	x.Device = device
	require.NoError(t, pt.WriteFile(path, x))
}

// scaled multiplies all values.
func scaled(by float64) func([]float64) {
	return func(v []float64) {
		for i := range v {
			v[i] *= by
		}
	}
}

// noisy adds a pattern of the given relative size.
func noisy(size float64) func([]float64) {
	return func(v []float64) {
		for i := range v {
			v[i] *= 1 + size*float64(i%7-3)/2
		}
	}
}

func run(t *testing.T, ref, target *il.Session, o Options) *report.Report {
	t.Helper()
	r, err := Sessions(ref, target, o)
	if err == nil && r.Verdict == report.Fail { // what is hard to put together again
		o.Progress = nil
		requireMerged(t, r, ref, target, o, 2)
	}
	require.NoError(t, err)
	require.Equal(t, r.Coverage.Compared, len(r.Tensors))
	for _, x := range r.Tensors {
		require.NotEmpty(t, x.Verdict, x)
	}
	for _, m := range r.Modules {
		require.NotEmpty(t, m.Verdict, m)
	}
	return r
}

// session is one in memory: steps of calls, a call written as "name" or
// "name_1".
func session(steps map[int]string) *il.Session {
	s := &il.Session{Dir: "made"}
	for n := range 20 {
		names, ok := steps[n]
		if !ok {
			continue
		}
		st := &il.Step{Number: n}
		for name := range strings.FieldsSeq(names) {
			c := &il.Call{Module: name}
			if base, k, ok := strings.Cut(name, "_call"); ok {
				c.Module, c.Index = base, int(k[0]-'0')
			}
			st.Calls = append(st.Calls, c)
		}
		s.Steps = append(s.Steps, st)
	}
	return s
}
