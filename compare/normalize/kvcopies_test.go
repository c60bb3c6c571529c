package normalize

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

func TestReplicas(t *testing.T) {
	for _, c := range []struct{ ranks, heads, want int }{{2, 2, 1}, {2, 8, 1}, {4, 2, 2}, {8, 2, 4}, {8, 1, 8}, {6, 4, 1}} {
		require.Equal(t, c.want, replicas(c.ranks, c.heads), "%d ranks, %d heads", c.ranks, c.heads)
	}
}

// Copies that are all unequal are known as copies by the model's number of heads,
// and by the reference, whether it has ranks or not.
func TestFaultyCopies(t *testing.T) {
	whole := open(t, base)
	right := map[int]*il.Session{1: whole}
	for _, n := range []int{2, 4, 8} {
		right[n] = sharded4(t, n, nil)
	}
	for _, n := range []int{4, 8} {
		bad := sharded4(t, n, func(c *il.Call, s *il.Slot, files []*il.TensorFile) []*il.TensorFile {
			if strings.HasSuffix(c.Module, ".attn") && (s.Path == "1" || s.Path == "2") {
				files[1] = spoiled(files[1])
			}
			return files
		})
		joined, _ := newRankJoiner(bad, nil, 2).join()
		require.Equal(t, 330, equal(t, whole, joined))
		for _, ref := range right {
			r, x, notes, err := Prepare(ref, bad, Options{})
			require.NoError(t, err)
			require.Equal(t, 330, equal(t, r, x))
			slot := x.Call(0, "model.layers.1.self_attn.attn", 0).Slot(il.Inputs, "2")
			y := load(t, slot)
			copies := notes.Copies(slot.Tensors[0])
			require.Len(t, copies, n/2)
			require.Same(t, slot.Tensors[0], copies[0])
			second := load(t, slotOf(il.Inputs, "2", copies[1]))
			require.Equal(t, y.Shape, second.Shape)
			require.False(t, tensor.SameBits(y, second))
			require.Equal(t, "cuda:1", notes.RankOf(copies[1], []int{0, 0}))
			for k, c := range copies[1:] {
				require.Equal(t, k == 0, !tensor.SameBits(y, load(t, slotOf(il.Inputs, "2", c))))
			}
		}
	}
}

// Where nothing but the packed projection is logged its keys tell what is copied.
func TestCopiesOfPacked(t *testing.T) {
	whole := open(t, base)
	for _, other := range []*il.Session{nil, whole, sharded4(t, 2, nil)} {
		parts := sharded4(t, 4, func(c *il.Call, _ *il.Slot, files []*il.TensorFile) []*il.TensorFile {
			if strings.HasSuffix(c.Module, ".attn") || strings.HasSuffix(c.Module, "rotary_emb") {
				return nil
			}
			return files
		})
		j := newRankJoiner(parts, other, 0)
		if other != nil {
			j.lead = newRankJoiner(other, nil, 0)
		}
		joined, _ := j.join()
		const qkv = "model.layers.1.self_attn.qkv_proj"
		require.True(t, tensor.SameBits(load(t, whole.Call(0, qkv, 0).Slot(il.Outputs, "0")), load(t, joined.Call(0, qkv, 0).Slot(il.Outputs, "0"))))
	}
}

// What each rank computed of a whole is put together as f was.
func TestCompose(t *testing.T) {
	joined, notes := newRankJoiner(sharded4(t, 4, nil), nil, 2).join()
	f := joined.Call(0, "model.layers.0.self_attn.qkv_proj", 0).Slot(il.Outputs, "0").Tensors[0]
	var wholes []*tensor.Tensor
	for rank := range 4 {
		x := tensor.New(tensor.Float32, 1, queries+2*keys)
		v := make([]float64, x.Numel())
		for i := range v {
			v[i] = float64(rank)
		}
		tensor.StoreFloat64(x.Data, x.DType, v)
		wholes = append(wholes, x)
	}
	out, err := notes.Compose(f, wholes)
	require.NoError(t, err)
	v := make([]float64, out.Numel())
	require.NoError(t, out.Float64s(v, 0))
	for column, rank := range map[int]float64{0: 0, 16: 1, 63: 3, 64: 0, 72: 2, 80: 0, 95: 2} {
		require.Equal(t, rank, v[column], column)
	}
	norm := joined.Call(0, "model.norm", 0).Slot(il.Outputs, "0").Tensors[0]
	out, err = notes.Compose(norm, wholes)
	require.NoError(t, err)
	require.Same(t, wholes[0], out)
}
