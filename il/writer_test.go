package il

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/tensor"
)

// TestWriterCopies: modules work in place as soon as a hook returns, and what
// the hook saw is written, also where too much waits to be copied.
func TestWriterCopies(t *testing.T) {
	for _, waiting := range []int{0, maxWaiting} {
		l := newLogger(t, `{}`, LoggerOptions{})
		l.writer.waiting = waiting
		x, one, zero := ones(1<<16), slices.Clone(ones(1<<16).Data), make([]byte, 4<<16)
		for i := range 8 {
			l.Pre("m", Tuple{x.Narrow(0, 0, 1<<15)})
			if waiting > 0 {
				require.FileExists(t, filepath.Join(l.Dir(), "step_0", CallName("m", i), "inputs_0_cpu.pt"), "the hook wrote it")
			}
			copy(x.Data, zero)
			l.Post("m", nil, x)
			copy(x.Data, one)
		}
		require.NoError(t, l.StepDone())
		files := tree(t, l.Dir())
		for i := range 8 {
			dir := filepath.Join("step_0", CallName("m", i))
			require.True(t, ones(1<<15).String()+string(one[:4<<15]) == files[filepath.Join(dir, "inputs_0_cpu.pt")])
			require.True(t, ones(1<<16).String()+string(zero) == files[filepath.Join(dir, "outputs_cpu.pt")])
		}
		require.NoError(t, l.Close())
	}
}

// TestWriterBound: the copies that wait never pass the bound, but one that is
// larger by itself.
func TestWriterBound(t *testing.T) {
	var w writer
	w.running = maxWriters + 1 // nobody writes
	call := func(name string, n int) *record {
		r := &record{dir: filepath.Join(t.TempDir(), name)}
		x := tensor.New(tensor.Int8, n)
		r.add(file{path: r.path("outputs_cpu.pt"), tensor: x}, n)
		return r
	}
	first, second, third := call("a", maxWaiting/2), call("b", maxWaiting/2), call("c", maxWaiting/4)
	for _, r := range []*record{first, second, third} {
		w.write(r)
	}
	require.Equal(t, []*record{first, third}, w.queue)
	require.FileExists(t, second.path("outputs_cpu.pt"))
	require.NoFileExists(t, first.path("outputs_cpu.pt"))
	require.Equal(t, maxWaiting/4*3+2*fileCost, w.waiting)
	require.NoError(t, w.finish())
	require.Zero(t, w.waiting)
	require.FileExists(t, third.path("outputs_cpu.pt"))
	large := call("d", maxWaiting+1)
	w.write(large)
	require.Equal(t, []*record{large}, w.queue)
	require.NoError(t, w.finish())
	require.FileExists(t, large.path("outputs_cpu.pt"))
}

// TestWriterFirstFailure: of several calls that fail the earliest is reported,
// whichever was tried first, and those before it are written.
func TestWriterFirstFailure(t *testing.T) {
	for range 20 {
		l := newLogger(t, `{}`, LoggerOptions{})
		for _, i := range []int{3, 4, 5, 6, 7} {
			write(t, "", l.Dir(), "step_0", fmt.Sprint("m", i), "inputs.json", "x")
		}
		for i := range 8 {
			l.Pre(fmt.Sprint("m", i), Tuple{ones(1 + 1000*(8-i))})
		}
		l.Pre("m8", Tuple{int8(1)}) // cannot be described
		err := l.StepDone()
		require.ErrorContains(t, err, "write "+filepath.Join(l.Dir(), "step_0", "m3", "inputs.json")+": ")
		require.Equal(t, err, l.Close())
		for i := range 3 {
			_, err := os.Stat(filepath.Join(l.Dir(), "step_0", fmt.Sprint("m", i), "inputs_0_cpu.pt"))
			require.NoError(t, err)
		}
	}
}
