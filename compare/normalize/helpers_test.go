package normalize

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/tensor"
)

const base = "llama3-gqa-bf16"

var sessions fixture.Sessions

func TestMain(m *testing.M) { sessions.Main(m) }

// open reads a session of PyTorch.
func open(t testing.TB, name string) *il.Session {
	t.Helper()
	s, err := il.Open(sessions.Session(t, name))
	require.NoError(t, err)
	return s
}

// held is a tensor in memory as a file of a session.
func held(device string, x *tensor.Tensor) *il.TensorFile {
	return il.VirtualTensor(device, "memory", func() (*tensor.Tensor, io.Closer, error) { return x, closers{}, nil })
}

func slotOf(d il.Direction, path string, files ...*il.TensorFile) *il.Slot {
	return &il.Slot{Direction: d, Path: path, Tensors: files}
}

func sessionOf(steps ...*il.Step) *il.Session { return il.NewSession("memory", il.VariantB, steps) }

// load reads a slot's only tensor.
func load(t testing.TB, s *il.Slot) *tensor.Tensor {
	t.Helper()
	require.NotNil(t, s)
	require.Len(t, s.Tensors, 1)
	x, c, err := s.Tensors[0].Open()
	require.NoError(t, err)
	defer c.Close()
	return x.Clone()
}

// changed makes a session of another by what f makes of each tensor's copy;
// nil leaves it out.
func changed(t testing.TB, s *il.Session, number func(int) int, f func(step int, c *il.Call, slot *il.Slot, x *tensor.Tensor) []*il.TensorFile) *il.Session {
	t.Helper()
	var steps []*il.Step
	for _, st := range s.Steps {
		out := &il.Step{Number: number(st.Number)}
		for _, c := range st.Calls {
			var slots []*il.Slot
			for _, slot := range c.Slots {
				if files := f(st.Number, c, slot, load(t, slot)); files != nil {
					slots = append(slots, slotOf(slot.Direction, slot.Path, files...))
				}
			}
			out.Calls = append(out.Calls, withSlots(c, slots))
		}
		steps = append(steps, out)
	}
	return sessionOf(steps...)
}

func same(n int) int { return n }

// equal requires that two sessions hold the same tensors, to the bit, and
// returns how many.
func equal(t testing.TB, a, b *il.Session) int {
	t.Helper()
	n := 0
	require.Equal(t, slots(a), slots(b))
	for _, st := range a.Steps {
		for _, c := range st.Calls {
			for _, s := range c.Slots {
				x, y := load(t, s), load(t, b.Call(st.Number, c.Module, c.Index).Slot(s.Direction, s.Path))
				require.True(t, tensor.SameBits(x, y), "step %d, %s, %s %s: %s and %s", st.Number, c.Module, s.Direction, s.Path, x, y)
				n++
			}
		}
	}
	return n
}

type slotName struct {
	step   int
	module string
	call   int
	dir    il.Direction
	path   string
}

func slots(s *il.Session) map[slotName]bool {
	out := map[slotName]bool{}
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			for _, slot := range c.Slots {
				out[slotName{st.Number, c.Module, c.Index, slot.Direction, slot.Path}] = true
			}
		}
	}
	return out
}
