package normalize

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Other layouts of the same tokens hold the same rows, in both directions.
// batch3 and tp2 computed nothing else either: a row's bits do not depend on
// its neighbours there.
func TestAlignFixtures(t *testing.T) {
	for _, c := range []struct {
		ref, target string
		tensors     int
		unmatched   int
		warnings    int
	}{
		{base, base + "-pad5", 330, 15, 1},
		{base + "-pad5", base, 330, 15, 1},
		{base + "-pad5", base + "-pad5", 330, 30, 1},
		{base, base + "-chunk4", 330, 2, 1},
		{base + "-chunk4", base, 546, 2, 1},
		{base, base + "-batch3", 330, 0, 3},
		{base + "-batch3", base, 330, 0, 3},
		{base + "-batch3", base + "-chunk4", 330, 2, 3},
	} {
		t.Run(c.ref+" "+c.target, func(t *testing.T) {
			r, tt, notes := Align(open(t, c.ref), open(t, c.target))
			require.Equal(t, c.tensors, equal(t, r, tt))
			require.Equal(t, c.unmatched, notes.Unmatched)
			require.Len(t, notes.Warnings, c.warnings)
		})
	}
}

// Nothing is touched where nothing is to be done, and where the tokens went
// another way.
func TestAlignLeavesAlone(t *testing.T) {
	for _, name := range []string{base, base + "-splitk", base + "-fault-rope_theta", base + "-fault-kv_swapped", base + "-filtered", base + "-max1000", "llama3-gqa-fp32"} {
		a, b := open(t, base), open(t, name)
		r, tt, notes := Align(a, b)
		require.Same(t, a, r)
		require.Same(t, b, tt)
		require.Empty(t, notes.Warnings, name)
	}
}

func keep(step int, c *il.Call, s *il.Slot, x *tensor.Tensor) []*il.TensorFile {
	return []*il.TensorFile{held("cuda:0", x)}
}

// A session that began after others has other step numbers.
func TestShiftedSteps(t *testing.T) {
	a := open(t, base)
	b := changed(t, a, func(n int) int { return n + 7 }, keep)
	r, tt, _ := Align(a, b)
	require.Equal(t, 330, equal(t, r, tt))

	// decode steps alone: the requests before them are not known, their tokens and positions are
	decode := sessionOf(a.Steps[1:3]...)
	r, tt, _ = Align(decode, changed(t, decode, func(n int) int { return n + 7 }, keep))
	require.Equal(t, 220, equal(t, r, tt))

	offset := -7
	r, tt, _, err := Prepare(a, b, Options{StepOffset: &offset})
	require.NoError(t, err)
	require.Equal(t, 330, equal(t, r, tt))
	offset = -8
	_, _, _, err = Prepare(a, b, Options{StepOffset: &offset})
	require.EqualError(t, err, "memory: step 7 with a step offset of -8 is below step 0")
}

// Steps are not shifted onto others that ran other tokens.
func TestNotShifted(t *testing.T) {
	a := sessionOf(open(t, base).Steps[1:3]...)
	b := changed(t, a, func(n int) int { return n + 7 }, func(step int, c *il.Call, s *il.Slot, x *tensor.Tensor) []*il.TensorFile {
		if topology.LastWord(c.Module) == "embed_tokens" && s.Direction == il.Inputs {
			x = tensor.FromInts(tensor.Int32, []int{300}, 1)
		}
		return []*il.TensorFile{held("cuda:0", x)}
	})
	_, tt, notes := Align(a, b)
	require.Same(t, b, tt)
	require.Len(t, notes.Warnings, 1)
	require.Contains(t, notes.Warnings[0], "no request of memory, of which the first begins at position 11 with the tokens 300 300, is told by its tokens and positions to be one of the reference's")
}

// Logits that only one side recorded are missing, whatever the layout.
func TestLogitsMissing(t *testing.T) {
	b := changed(t, open(t, base+"-pad5"), same, func(step int, c *il.Call, s *il.Slot, x *tensor.Tensor) []*il.TensorFile {
		if c.Module == topology.LogitsProcessorName {
			return nil
		}
		return []*il.TensorFile{held("cuda:0", x)}
	})
	logits := slotName{1, topology.LogitsProcessorName, 0, il.Outputs, ""}
	r, tt, _ := Align(open(t, base), b)
	require.True(t, slots(r)[logits])
	require.False(t, slots(tt)[logits])
	r, tt, _ = Align(b, open(t, base))
	require.False(t, slots(r)[logits])
	require.True(t, slots(tt)[logits])
}

// passOf makes a pass over rows of base's passes, and the logits of the last.
func passOf(t testing.TB, number int, from []place) []*il.Step {
	a := open(t, base)
	sources := make([]*il.Step, 3)
	for i := range sources {
		sources[i] = a.Steps[i]
	}
	out := &il.Step{Number: number}
	for _, c := range passCalls(a, 0) {
		var slots []*il.Slot
		for _, s := range c.Slots {
			var ts []*tensor.Tensor
			for _, st := range sources {
				ts = append(ts, load(t, a.Call(st.Number, c.Module, c.Index).Slot(s.Direction, s.Path)))
			}
			var pieces []piece
			for _, p := range from {
				pieces = append(pieces, piece{p.forward, p.index, 1})
			}
			x, err := join(ts, 0, pieces)
			require.NoError(t, err)
			slots = append(slots, slotOf(s.Direction, s.Path, held("cuda:0", x)))
		}
		out.Calls = append(out.Calls, withSlots(c, slots))
	}
	last := from[len(from)-1].forward
	return []*il.Step{out, {Number: number + 1, Calls: logitsCalls(a, last)}}
}

func allRows() []place {
	var out []place
	for i := range 11 {
		out = append(out, place{0, i})
	}
	return append(out, place{1, 0}, place{2, 0})
}

// One pass over prompt and generated tokens against a prompt and decodes.
func TestPrefillAgainstDecode(t *testing.T) {
	a := open(t, base)
	once := sessionOf(passOf(t, 0, allRows())...)
	r, tt, notes := Align(a, once)
	logits := func(n int) slotName { return slotName{n, topology.LogitsProcessorName, 0, il.Outputs, ""} }
	require.Equal(t, 3*108+2, equal(t, r, tt))
	require.True(t, slots(r)[logits(3)])
	require.False(t, slots(r)[logits(1)], "logits in the middle of the other's prompt have no partner")
	require.Equal(t, 2, notes.Unmatched)

	r, tt, notes = Align(once, a)
	require.Equal(t, 110, equal(t, r, tt))
	require.Equal(t, 2, notes.Unmatched)
}

// What the target ran and the reference did not is kept and reported.
func TestLeftover(t *testing.T) {
	short := sessionOf(passOf(t, 0, allRows()[:12])...)
	r, tt, notes := Align(short, open(t, base))
	require.Len(t, slots(r), 110)
	require.Contains(t, slots(tt), slotName{2, "model.norm", 0, il.Outputs, "0"})
	require.Contains(t, slots(tt), slotName{3, topology.LogitsProcessorName, 0, il.Outputs, ""})
	require.Contains(t, fmt.Sprint(notes.Warnings), "target: the reference did not run 1 row of its request 0, from position 12 on")
}

// The same tokens at other positions are a fault to be found, no layout.
func TestMovedPositions(t *testing.T) {
	a := open(t, base)
	for _, c := range []struct {
		from int // the prompt or the first decode
		move func(int) int
	}{{0, func(p int) int { return p + 1 }}, {1, func(p int) int { return p + 1 }}, {0, func(p int) int { return p % 6 }}} {
		from := c.from
		b := changed(t, a, same, func(step int, call *il.Call, s *il.Slot, x *tensor.Tensor) []*il.TensorFile {
			if step >= from && s.Direction == il.Inputs && s.Path == "0" && (topology.Locate(call.Module).IsLayer() || topology.LastWord(call.Module) == "rotary_emb") {
				v, err := x.Ints()
				require.NoError(t, err)
				for i := range v {
					v[i] = c.move(v[i])
				}
				x = tensor.FromInts(x.DType, v, len(v))
			}
			return []*il.TensorFile{held("cuda:0", x)}
		})
		r, tt, _ := Align(a, b)
		require.Same(t, a, r)
		require.Same(t, b, tt)
	}
}

// Without tokens rows cannot be lined up, and that is said.
func TestNoTokens(t *testing.T) {
	b := changed(t, open(t, base+"-pad5"), same, func(step int, c *il.Call, s *il.Slot, x *tensor.Tensor) []*il.TensorFile {
		if topology.LastWord(c.Module) == "embed_tokens" {
			return nil
		}
		return []*il.TensorFile{held("cuda:0", x)}
	})
	_, tt, notes := Align(open(t, base), b)
	require.Same(t, b, tt)
	require.Len(t, notes.Warnings, 1)
	require.Contains(t, notes.Warnings[0], "their rows cannot be lined up: memory: step_0: the session holds no tokens")
}

// A call that only one chunk recorded cannot be gathered.
func TestChunkLacksCall(t *testing.T) {
	b := changed(t, open(t, base+"-chunk4"), same, func(step int, c *il.Call, s *il.Slot, x *tensor.Tensor) []*il.TensorFile {
		if step == 1 && c.Module == "model.layers.1.mlp" {
			return nil
		}
		return []*il.TensorFile{held("cuda:0", x)}
	})
	_, tt, _ := Align(open(t, base), b)
	_, _, err := tt.Call(0, "model.layers.1.mlp", 0).Slot(il.Outputs, "").Tensors[0].Open()
	require.ErrorContains(t, err, "some of its rows lie in step_1, which lacks this tensor")
}

func TestMatch(t *testing.T) {
	const u = unknown
	for _, c := range []struct {
		ref, target [][]int
		to          []int
	}{
		{[][]int{{1, 2, 3}}, [][]int{{1, 2, 3}}, []int{0}},
		{[][]int{{1, 2}, {1, 9, 9}}, [][]int{{1, 9, 9, 4}, {1, 2}}, []int{1, 0}},
		{[][]int{{1, 2}, {1, 2}}, [][]int{{1, 2}, {1, 2}, {1, 2}}, []int{0, 1}}, // equal prompts in order
		{[][]int{{1, 2, 3}}, [][]int{{1, 7}, {1, 2, 5}}, []int{1}},
		{[][]int{{5}, {1}}, [][]int{{1}}, []int{-1, 0}},
		{[][]int{{5, 6}}, [][]int{{6}}, []int{-1}},
		// behind a prefix that was not run
		{[][]int{{1, 2, 3, 4}, {1, 2, 5, 6}}, [][]int{{u, u, 5, 6}, {1, 2, 3, 4}}, []int{1, 0}},
		{[][]int{{u, u, 5, 6}, {1, 2, 3, 4}}, [][]int{{1, 2, 3, 4}, {1, 2, 5, 6}}, []int{1, 0}},
		{[][]int{{1, 2, 3, 4}}, [][]int{{u, u, 3, 4}}, []int{0}},
		{[][]int{{1, 2, 3, 4}}, [][]int{{u, u, 4, 3}}, []int{-1}},
		{[][]int{{1, 2, 3, 4}, {1, 2, 3, 4}}, [][]int{{u, u, 3, 4}, {u, u, 3, 4}}, []int{0, 1}}, // equal texts
		{[][]int{{1, 2, 3, 4}, {1, 9, 3, 4}}, [][]int{{u, u, 3, 4}}, []int{-1, -1}},             // two texts
		{[][]int{{1, 2, 3, 4}, {1, 9, 3, 4}}, [][]int{{u, u, 3, 4}, {1, 9, 3, 4}}, []int{0, 1}}, // the other is taken
		{[][]int{{1, 2, 3, 4}}, [][]int{{u, u, 3, 4}, {u, u, 3, 4}}, []int{-1}},                 // one of two
		{[][]int{{u, u, 3, 4}}, [][]int{{1, 2, 3, 4}, {1, 9, 3, 4}}, []int{unclear}},
	} {
		require.Equal(t, c.to, match(c.ref, c.target).to, "%v %v", c.ref, c.target)
	}
}

// A matching is one to one, and shuffled requests find each other.
func TestMatchShuffled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "n")
		var ref [][]int
		for i := range n {
			ref = append(ref, append([]int{1, 100 + i}, rapid.SliceOfN(rapid.IntRange(0, 3), 0, 5).Draw(t, "ids")...))
		}
		order := rapid.Permutation(ref).Draw(t, "order")
		m := match(ref, order)
		for i, j := range m.to {
			require.Equal(t, ref[i], order[j])
			require.Equal(t, i, m.from[j])
		}
	})
}
