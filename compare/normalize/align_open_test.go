package normalize

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// cachedPrefix is a session without the first n rows of the request that begins
// at a row of step 0.
func cachedPrefix(t *testing.T, s *il.Session, row, n int) *il.Session {
	return changed(t, s, same, func(step int, c *il.Call, slot *il.Slot, x *tensor.Tensor) []*il.TensorFile {
		if step == 0 {
			pieces := []piece{{0, row + n, x.Shape[0] - row - n}}
			if row > 0 {
				pieces = append([]piece{{0, 0, row}}, pieces...)
			}
			var err error
			x, err = join([]*tensor.Tensor{x}, 0, pieces)
			require.NoError(t, err)
		}
		return []*il.TensorFile{held("cuda:0", x)}
	})
}

// tensorsIn requires that all slots of a lined up pair are there on both sides
// and equal.
func tensorsIn(t *testing.T, a, b *il.Session) (int, []string) {
	r, tt, notes := Align(a, b)
	return equal(t, r, tt), notes.Warnings
}

// Behind a prefix that one side took from a cache the rows lie at the same
// positions: of all requests or of one, on either side.
func TestCachedPrefix(t *testing.T) {
	a := open(t, base)
	hit := cachedPrefix(t, a, 0, 8)
	n, warnings := tensorsIn(t, a, hit)
	require.Equal(t, 330, n)
	require.Equal(t, []string{
		"the sessions lay out their tokens in other ways: rows are lined up by request and position",
		"reference: 8 rows of its request 0, before position 8, not compared: the target took them from its prefix cache or ran them in a step that was not logged",
	}, warnings)
	n, warnings = tensorsIn(t, hit, a)
	require.Equal(t, 330, n)
	require.Contains(t, warnings[1], "target: 8 rows of its request 0, before position 8, not compared: the reference took them")

	n, warnings = tensorsIn(t, open(t, base+"-batch3"), hit) // two requests of the reference alone
	require.Equal(t, 330, n)
	require.Len(t, warnings, 4)
}

// Of a batch one request hits; the others are compared whole.
func TestCachedPrefixInBatch(t *testing.T) {
	a := open(t, base+"-batch3")
	l, err := layoutOf(a, a)
	require.NoError(t, err)
	row := l.rows[row{1, 0}]
	require.Equal(t, 0, row.forward)
	hit := cachedPrefix(t, a, row.index, 2)
	for _, pair := range [][2]*il.Session{{a, hit}, {hit, a}} {
		n, warnings := tensorsIn(t, pair[0], pair[1])
		require.Equal(t, 330, n)
		require.Len(t, warnings, 2)
		require.Contains(t, warnings[1], "2 rows of its request 1, before position 2, not compared")
	}
}

// A pass of which the other side had all rows in its cache is none that is
// missing.
func TestCachedChunk(t *testing.T) {
	a := open(t, base)
	n, warnings := tensorsIn(t, open(t, base+"-chunk4"), cachedPrefix(t, a, 0, 8))
	require.Equal(t, 330, n)
	require.Contains(t, warnings[1], "reference: 8 rows of its request 0, before position 8, not compared")
	n, _ = tensorsIn(t, cachedPrefix(t, a, 0, 8), open(t, base+"-chunk4"))
	require.Equal(t, 330, n)
}

// A session that begins in the middle, with other step numbers.
func TestBeginsInTheMiddle(t *testing.T) {
	a := open(t, base)
	n, warnings := tensorsIn(t, a, changed(t, sessionOf(a.Steps[1:]...), func(n int) int { return n + 40 }, keep))
	require.Equal(t, 220, n)
	require.Contains(t, warnings, "target: the logits in step_41 are of a forward that was not logged: they are not compared")
	require.Contains(t, fmt.Sprint(warnings), "11 rows of its request 0, before position 11, not compared")
}

// What a request of the target is that nothing tells is neither compared nor
// silent.
func TestUnplaced(t *testing.T) {
	a, batch := open(t, base), open(t, base+"-batch3")
	l, err := layoutOf(batch, batch)
	require.NoError(t, err)
	hit := cachedPrefix(t, batch, l.rows[row{1, 0}].index, 2)
	_, tt, notes := Align(a, hit)
	require.Contains(t, fmt.Sprint(notes.Warnings), "that cannot be placed in the reference: listed as step_")
	last := tt.Steps[len(tt.Steps)-1]
	require.NotNil(t, tt.Call(last.Number, "model.norm", 0))
	require.Nil(t, a.Call(last.Number, "model.norm", 0))
}

// drafted is base with two draft tokens in step 1 that step 2 rejects.
func drafted(t *testing.T, s *il.Session) *il.Session {
	return changed(t, s, same, func(step int, c *il.Call, slot *il.Slot, x *tensor.Tensor) []*il.TensorFile {
		logits := c.Module == topology.LogitsProcessorName
		switch {
		case logits && step != 2 || !logits && step != 1:
			return []*il.TensorFile{held("cuda:0", x)}
		case x.DType.IsInt():
			v, err := x.Ints()
			require.NoError(t, err)
			if c.Module == topology.EmbedTokensName {
				v = []int{v[0], 300, 301}
			} else {
				v = []int{v[0], v[0] + 1, v[0] + 2}
			}
			return []*il.TensorFile{held("cuda:0", tensor.FromInts(x.DType, v, 3))}
		}
		y, err := join([]*tensor.Tensor{x}, 0, []piece{{0, 0, 1}, {0, 0, 1}, {0, 0, 1}})
		require.NoError(t, err)
		return []*il.TensorFile{held("cuda:0", y)}
	})
}

// Draft tokens that were rejected are told apart from what was kept, where a
// later step shows it and where the other side does.
func TestRejectedDrafts(t *testing.T) {
	a := open(t, base)
	spec := drafted(t, a)
	n, warnings := tensorsIn(t, a, spec)
	require.Equal(t, 330, n)
	require.Contains(t, warnings, "target: 2 rows of draft tokens that speculative decoding rejected, not compared: the reference did not run them")
	n, warnings = tensorsIn(t, spec, a)
	require.Equal(t, 330, n)
	require.Contains(t, warnings, "reference: 2 rows of draft tokens that speculative decoding rejected, not compared: the target did not run them")

	r, tt, _ := Align(spec, spec)
	require.Same(t, spec, r)
	require.Same(t, spec, tt)

	short := sessionOf(spec.Steps[0], spec.Steps[1], &il.Step{Number: 2, Calls: logitsCalls(spec, 1)})
	r, tt, notes := Align(short, a)
	require.Contains(t, fmt.Sprint(notes.Warnings), "2 rows of draft tokens")
	x, y := load(t, r.Call(1, "model.norm", 0).Slot(il.Outputs, "0")), load(t, tt.Call(1, "model.norm", 0).Slot(il.Outputs, "0"))
	require.True(t, tensor.SameBits(x, y))
}
