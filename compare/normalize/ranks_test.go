package normalize

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// The checkpoint's widths: 8 heads and 2 key heads of 8.
const (
	queries = 64
	keys    = 16
)

// shard cuts a tensor of the whole model into those of n ranks, as vLLM's
// parallel layers do: written from llama-modules 6.2, not from rules.go.
func shard(c *il.Call, s *il.Slot, x *tensor.Tensor, n int) []*il.TensorFile {
	last := len(x.Shape) - 1
	w := x.Shape[max(last, 0)]
	part := func(lo, hi, r int) piece { return piece{0, lo + (hi-lo)/n*r, (hi - lo) / n} }
	kv := func(lo, hi, r int) piece { // 2 heads on n ranks: with 4, each lies on two
		if n > 2 {
			return piece{0, lo + (hi-lo)/2*(r*2/n), (hi - lo) / 2}
		}
		return part(lo, hi, r)
	}
	cut := func(r int) []piece {
		in := s.Direction == il.Inputs
		switch key := topology.LastWord(c.Module) + map[bool]string{true: " in ", false: " out "}[in] + s.Path; key {
		case "qkv_proj out 0":
			return []piece{part(0, queries, r), kv(queries, queries+keys, r), kv(queries+keys, queries+2*keys, r)}
		case "rotary_emb in 1", "rotary_emb out 0", "attn in 0", "attn out ", "o_proj in 0", "act_fn out ", "down_proj in 0":
			return []piece{part(0, w, r)}
		case "rotary_emb in 2", "rotary_emb out 1", "attn in 1", "attn in 2":
			return []piece{kv(0, w, r)}
		case "gate_up_proj out 0", "act_fn in 0":
			return []piece{part(0, w/2, r), part(w/2, w, r)}
		}
		return []piece{{0, 0, w}}
	}
	var out []*il.TensorFile
	for r := range n {
		y, err := join([]*tensor.Tensor{x}, max(last, 0), cut(r))
		if err != nil {
			panic(err)
		}
		out = append(out, held(fmt.Sprintf("cuda:%d", r), y))
	}
	return out
}

func sharded4(t *testing.T, n int, spoil func(c *il.Call, s *il.Slot, files []*il.TensorFile) []*il.TensorFile) *il.Session {
	return changed(t, open(t, base), same, func(step int, c *il.Call, s *il.Slot, x *tensor.Tensor) []*il.TensorFile {
		files := shard(c, s, x, n)
		if spoil != nil && step == 0 {
			files = spoil(c, s, files)
		}
		return files
	})
}

// However many ranks, together they are the whole model, with and without the
// other side to compare with.
func TestRanksTogether(t *testing.T) {
	whole := open(t, base)
	for _, n := range []int{2, 4, 8} {
		for _, other := range []*il.Session{nil, whole} {
			joined, notes := Ranks(sharded4(t, n, nil), other)
			require.Equal(t, 330, equal(t, whole, joined))
			require.Empty(t, notes.Warnings)
			require.Empty(t, findings(&notes))
		}
	}
}

func findings(n *Notes) []string {
	var out []string
	for f := range n.ranks {
		if why := n.Finding(f); why != "" {
			out = append(out, why)
		}
	}
	return out
}

func spoiled(f *il.TensorFile) *il.TensorFile {
	x, c, err := f.Open()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	y := x.Clone()
	y.Data[0] ^= 1
	return held(f.Device, y)
}

// Of ranks that must agree those that do not are named: most are right.
func TestOddRank(t *testing.T) {
	for _, c := range []struct {
		module, path string
		dir          il.Direction
		ranks        []int
		want         string
	}{
		{"model.layers.1.mlp", "", il.Outputs, []int{3}, "rank cuda:3 differs from cuda:0"},
		{"model.layers.1.mlp", "", il.Outputs, []int{0}, "rank cuda:0 differs from cuda:1"},
		{"model.embed_tokens", "0", il.Inputs, []int{2}, "rank cuda:2 differs from cuda:0"},
		{"model.layers.2.self_attn.attn", "2", il.Inputs, []int{3}, "rank cuda:3 differs from cuda:2"}, // a copy of a key head
		{"model.layers.2.self_attn.attn", "", il.Outputs, []int{3}, ""},                                // a part of its own
	} {
		s := sharded4(t, 4, func(call *il.Call, slot *il.Slot, files []*il.TensorFile) []*il.TensorFile {
			if call.Module == c.module && slot.Path == c.path && slot.Direction == c.dir {
				for _, r := range c.ranks {
					files[r] = spoiled(files[r])
				}
			}
			return files
		})
		joined, notes := Ranks(s, nil)
		slot := joined.Call(0, c.module, 0).Slot(c.dir, c.path)
		load(t, slot)
		if c.want == "" {
			require.Empty(t, notes.Finding(slot.Tensors[0]))
			continue
		}
		require.Equal(t, c.want+", although every rank must hold the same here", notes.Finding(slot.Tensors[0]))
	}
}

func TestRankOf(t *testing.T) {
	joined, notes := Ranks(sharded4(t, 4, nil), nil)
	slot := joined.Call(0, "model.layers.0.self_attn.qkv_proj", 0).Slot(il.Outputs, "0")
	x := load(t, slot)
	f := slot.Tensors[0]
	for column, device := range map[int]string{0: "cuda:0", 15: "cuda:0", 16: "cuda:1", 63: "cuda:3", 64: "cuda:0", 72: "cuda:2", 80: "cuda:0", 95: "cuda:2"} {
		require.Equal(t, device, notes.RankOf(f, []int{3, column}), column)
	}
	width := 0
	for _, p := range notes.Parts(f, x) {
		for _, v := range p.Views {
			width += v.Shape[1]
		}
	}
	require.Equal(t, x.Shape[1], width)
	require.Empty(t, notes.RankOf(held("cpu", x), []int{0, 0}))
}

// A module without a rule is understood from the other side's shape.
func TestUnknownModule(t *testing.T) {
	call := func(files ...*il.TensorFile) *il.Session {
		return sessionOf(&il.Step{Number: 0, Calls: []*il.Call{{Module: "model.mixer", Slots: []*il.Slot{slotOf(il.Outputs, "", files...)}}}})
	}
	x := tensor.FromFloat64s(tensor.Float32, []float64{1, 2, 3, 4, 5, 6, 7, 8}, 2, 4)
	half := func(r int) *il.TensorFile { return held(fmt.Sprintf("cuda:%d", r), x.Narrow(1, 2*r, 2*r+2)) }
	parts := call(half(0), half(1))
	whole := call(held("cpu", x))

	joined, notes := Ranks(parts, whole)
	require.Equal(t, 1, equal(t, whole, joined))
	f := joined.Call(0, "model.mixer", 0).Slots[0].Tensors[0]
	require.Equal(t, "cuda:1", notes.RankOf(f, []int{0, 3}))

	copies, _ := Ranks(call(held("cuda:0", x), held("cuda:1", x)), whole)
	require.Equal(t, 1, equal(t, whole, copies))

	left, notes := Ranks(parts, nil)
	require.Len(t, left.Call(0, "model.mixer", 0).Slots[0].Tensors, 2)
	require.Equal(t, []string{"1 tensors of modules whose spread over ranks is not known are left as they are, the first of step 0, model.mixer"}, notes.Warnings)
}

func TestRankErrors(t *testing.T) {
	tp := open(t, base+"-tp2")
	without := func(drop func(c *il.Call, s *il.Slot, f *il.TensorFile) bool) *il.Session {
		var steps []*il.Step
		for _, st := range tp.Steps {
			out := &il.Step{Number: st.Number}
			for _, c := range st.Calls {
				var slots []*il.Slot
				for _, s := range c.Slots {
					var files []*il.TensorFile
					for _, f := range s.Tensors {
						if !drop(c, s, f) {
							files = append(files, f)
						}
					}
					if len(files) > 0 {
						slots = append(slots, slotOf(s.Direction, s.Path, files...))
					}
				}
				out.Calls = append(out.Calls, withSlots(c, slots))
			}
			steps = append(steps, out)
		}
		return sessionOf(steps...)
	}
	open := func(s *il.Session, module string, d il.Direction, path string) error {
		joined, _ := Ranks(s, nil)
		_, _, err := joined.Call(0, module, 0).Slot(d, path).Tensors[0].Open()
		return err
	}
	qkv := "model.layers.1.self_attn.qkv_proj"
	err := open(without(func(c *il.Call, s *il.Slot, f *il.TensorFile) bool {
		return c.Module == qkv && s.Direction == il.Outputs && f.Device == "cuda:1"
	}), qkv, il.Outputs, "0")
	require.ErrorContains(t, err, "rank cuda:1 wrote no such file, the ranks cuda:0 did")

	err = open(without(func(c *il.Call, s *il.Slot, f *il.TensorFile) bool {
		return strings.HasSuffix(c.Module, ".attn") || strings.HasSuffix(c.Module, "o_proj") || strings.HasSuffix(c.Module, "rotary_emb")
	}), qkv, il.Outputs, "0")
	require.ErrorContains(t, err, "the ranks' packed q, k and v cannot be parted: log model.layers.1.self_attn.attn")

	// the o_proj's inputs alone are enough
	require.NoError(t, open(without(func(c *il.Call, s *il.Slot, f *il.TensorFile) bool {
		return strings.HasSuffix(c.Module, ".attn") || strings.HasSuffix(c.Module, "rotary_emb")
	}), qkv, il.Outputs, "0"))

	one := sessionOf(&il.Step{Calls: []*il.Call{{Module: "a.mlp.down_proj", Slots: []*il.Slot{slotOf(
		il.Inputs, "0", held("cuda:0", tensor.New(tensor.Float32, 2, 4)), held("cuda:1", tensor.New(tensor.BFloat16, 2, 4)),
	)}}}})
	require.ErrorContains(t, open(one, "a.mlp.down_proj", il.Inputs, "0"), "the ranks cuda:0, cuda:1: the parts are float32[2,4] and bfloat16[2,4]")
}

// What is cut is put together again, along any dimension.
func TestJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := rapid.SliceOfN(rapid.IntRange(1, 5), 1, 4).Draw(t, "shape")
		values := make([]int, product(shape))
		for i := range values {
			values[i] = i
		}
		x := tensor.FromInts(tensor.Int32, values, shape...)
		dim := rapid.IntRange(0, len(shape)-1).Draw(t, "dim")
		var parts []*tensor.Tensor
		var pieces []piece
		for at := 0; at < shape[dim]; {
			n := rapid.IntRange(1, shape[dim]-at).Draw(t, "n")
			parts = append(parts, x.Narrow(dim, at, at+n))
			pieces = append(pieces, piece{len(parts) - 1, 0, n})
			at += n
		}
		y, err := join(parts, dim, pieces)
		require.NoError(t, err)
		require.True(t, tensor.SameBits(x, y))
	})
}

func TestNotCopied(t *testing.T) {
	for _, c := range []struct {
		x    *tensor.Tensor
		want string
	}{
		{&tensor.Tensor{DType: tensor.Float32, Shape: []int{1 << 20, 1 << 20}, Stride: []int{0, 0}, Data: make([]byte, 4)}, "would take 4398046511104 bytes, but 4 are stored"},
		{&tensor.Tensor{DType: tensor.Float32, Shape: []int{2}, Stride: []int{1}, Meta: true}, "has no data"},
		{&tensor.Tensor{DType: tensor.QInt8, Shape: []int{2}, Stride: []int{1}, Data: make([]byte, 2), Quant: &tensor.Quant{}}, "is quantised"},
	} {
		_, _, err := copied([]*il.TensorFile{held("cpu", c.x)}, nil)
		require.ErrorContains(t, err, c.want)
	}
}
