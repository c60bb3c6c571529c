package normalize

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// widened is a session whose logits have columns of padding.
func widened(t *testing.T, s *il.Session, columns int, padding ...float64) *il.Session {
	return changed(t, s, same, func(_ int, c *il.Call, slot *il.Slot, x *tensor.Tensor) []*il.TensorFile {
		if isLogits(c, slot) {
			v := make([]float64, x.Numel())
			require.NoError(t, x.Float64s(v, 0))
			wide := tensor.New(x.DType, x.Shape[0], columns)
			row := make([]float64, columns)
			for i := range x.Shape[0] {
				for j := range row {
					row[j] = padding[j%len(padding)]
				}
				copy(row, v[i*x.Shape[1]:][:x.Shape[1]])
				tensor.StoreFloat64(wide.Row(i), wide.DType, row)
			}
			x = wide
		}
		return []*il.TensorFile{held("cuda:0", x)}
	})
}

// Columns of logits that one side alone has are padding of the vocabulary, on
// either side: they are taken away and told.
func TestVocabularyPadding(t *testing.T) {
	plain := open(t, base) // 320 columns
	inf := math.Inf(1)
	for _, c := range []struct {
		columns int
		padding []float64
		want    string
	}{
		{384, []float64{0}, "the logits have 384 columns, of which the last 64 are padding of the vocabulary and are not compared (all 0)"},
		{352, []float64{-inf}, "of which the last 32 are padding of the vocabulary and are not compared (all -Inf)"},
		{512, []float64{-2, 0.5}, "(finite values from -2 to 0.5)"},
		{384, []float64{1000}, "(all 1e+03); in 3 of 3 rows the largest logit is padding, which a sampler that does not mask it would choose"},
		{384, []float64{math.NaN(), -inf, 1, 2}, "(96 finite values, 48 of -Inf, 48 of NaN or +Inf)"},
	} {
		padded := widened(t, plain, c.columns, c.padding...)
		r, x, notes, err := Prepare(plain, padded, Options{})
		require.NoError(t, err)
		require.Equal(t, 330, equal(t, r, x))
		require.Len(t, notes.Warnings, 1)
		require.Contains(t, notes.Warnings[0], "target: the logits")
		require.Contains(t, notes.Warnings[0], c.want)
		r, x, notes, err = Prepare(padded, plain, Options{})
		require.NoError(t, err)
		require.Equal(t, 330, equal(t, r, x))
		require.Contains(t, notes.Warnings[0], "reference: the logits")
	}
}

// What both sides hold is compared, unless evidence lacks it; what is too much, or
// no round number, is another vocabulary.
func TestOtherVocabularies(t *testing.T) {
	plain := open(t, base)
	padded := widened(t, plain, 384, 0)
	for evidence, want := range map[int]int{0: 384, 320: 320, 384: 384} {
		r, x, notes, err := Prepare(padded, padded, Options{Vocabulary: evidence})
		require.NoError(t, err)
		require.Equal(t, want, Vocabulary(r))
		require.Equal(t, want, Vocabulary(x))
		require.Len(t, notes.Warnings, map[int]int{384: 0, 320: 2}[want])
	}
	for _, columns := range []int{325, 1024} {
		_, x, notes, err := Prepare(plain, widened(t, plain, columns, 0), Options{})
		require.NoError(t, err)
		require.Equal(t, columns, Vocabulary(x))
		require.Empty(t, notes.Warnings)
	}
}
