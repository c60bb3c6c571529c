package normalize

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

const sharedRope = "model.layers.0.self_attn.rotary_emb"

// pipelined is a session as the stages of a pipeline log it that begin at the
// given layers, each with a device and a rotary embedding of its own: written
// from llama-modules 6.2.
func pipelined(t *testing.T, s *il.Session, begin ...int) *il.Session {
	var steps []*il.Step
	for _, st := range s.Steps {
		out := &il.Step{Number: st.Number}
		for _, c := range st.Calls {
			layer := topology.Locate(c.Module).Layer
			if c.Module == sharedRope {
				layer = c.Index
			}
			stage := 0
			for i, b := range begin {
				if layer >= b || c.Module == "model.norm" || c.Module == topology.LogitsProcessorName {
					stage = i + 1
				}
			}
			var slots []*il.Slot
			for _, slot := range c.Slots {
				var files []*il.TensorFile
				for _, f := range slot.Tensors {
					files = append(files, held(fmt.Sprintf("cuda:%d", stage), load(t, slot)))
					require.Equal(t, "cuda:0", f.Device)
				}
				slots = append(slots, slotOf(slot.Direction, slot.Path, files...))
			}
			d := withSlots(c, slots)
			if c.Module == sharedRope && stage > 0 {
				d.Module = fmt.Sprintf("model.layers.%d.self_attn.rotary_emb", begin[stage-1])
				d.Index = layer - begin[stage-1]
			}
			out.Calls = append(out.Calls, d)
		}
		steps = append(steps, out)
	}
	return sessionOf(steps...)
}

// However a pipeline is cut, its rotary embeddings are those of one process.
func TestStages(t *testing.T) {
	whole := open(t, base)
	const want = "model.layers.1.self_attn.rotary_emb, the rotary embedding of a pipeline stage, is taken as calls 1 to 2 of " + sharedRope
	for _, c := range []struct {
		ref, target *il.Session
		warnings    []string
	}{
		{whole, pipelined(t, whole, 1), []string{"target: " + want}},
		{pipelined(t, whole, 1), whole, []string{"reference: " + want}},
		{pipelined(t, whole, 1), pipelined(t, whole, 2), []string{"reference: " + want, "target: " + strings.NewReplacer("layers.1.", "layers.2.", "calls 1 to 2", "calls 2 to 2").Replace(want)}},
		{whole, pipelined(t, whole, 1, 2), nil},
	} {
		r, tt, notes, err := Prepare(c.ref, c.target, Options{})
		require.NoError(t, err)
		require.Equal(t, 330, equal(t, whole, r))
		require.Equal(t, 330, equal(t, r, tt))
		if c.warnings != nil {
			require.Equal(t, c.warnings, notes.Warnings)
		}
	}

	// Equal stages keep their names, but where both shall have a single process's.
	a, b := pipelined(t, whole, 1), pipelined(t, whole, 1)
	r, tt, notes, err := Prepare(a, b, Options{})
	require.NoError(t, err)
	require.Same(t, a, r)
	require.Same(t, b, tt)
	require.Empty(t, notes.Warnings)
	r, tt, _, err = Prepare(a, b, Options{Canonical: true})
	require.NoError(t, err)
	require.Equal(t, 330, equal(t, whole, r))
	require.Equal(t, 330, equal(t, r, tt))
}

// A second rotary embedding that a model has by nature is no stage's: the first
// is called by layers behind it too.
func TestTwoRopes(t *testing.T) {
	whole := open(t, base)
	s := pipelined(t, whole, 1)
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			if c.Module == "model.layers.1.self_attn.rotary_emb" && c.Index == 1 {
				c.Module = sharedRope // layer 2's
			}
		}
	}
	joined, notes := Canonical(s, nil, 0)
	require.Same(t, s, joined)
	require.Empty(t, notes.Warnings)
}

// Canonical makes one process's session of those of ranks, stages and
// transformers.
func TestCanonical(t *testing.T) {
	whole := open(t, base)
	for name, s := range map[string]*il.Session{"ranks": sharded4(t, 4, nil), "stages": pipelined(t, whole, 1), "one": whole} {
		joined, _ := Canonical(s, nil, 0)
		require.Equal(t, 330, equal(t, whole, joined), name)
	}

	hf, notes := Canonical(open(t, "llama3-gqa-hf-bf16"), nil, 0)
	require.Equal(t, []string{"transformers' modules are taken under vLLM's names"}, notes.Warnings)
	want := slots(whole)
	require.Len(t, slots(hf), 330-3*3*4, "rotated queries and keys are in no module of transformers'")
	for name := range slots(hf) {
		require.True(t, want[name], name)
		if name.dir == il.Inputs && name.path == "0" && (topology.Locate(name.module).IsLayer() || topology.LastWord(name.module) == "rotary_emb") {
			x := load(t, hf.Call(name.step, name.module, name.call).Slot(name.dir, name.path))
			y := load(t, whole.Call(name.step, name.module, name.call).Slot(name.dir, name.path))
			require.True(t, tensor.SameBits(x, y), "%v: positions %v", name, x)
		}
	}
}

// Positions that transformers did not record are only told of one sequence,
// from its first step on.
func TestPositionsNotTold(t *testing.T) {
	hf := open(t, "llama3-gqa-hf-bf16")
	late := il.NewSession(hf.Dir, hf.Variant, hf.Steps[1:])
	for name, s := range map[string]*il.Session{
		"late": late,
		"batch": changed(t, hf, same, func(_ int, c *il.Call, _ *il.Slot, x *tensor.Tensor) []*il.TensorFile {
			if c.Module == "model.embed_tokens" {
				y, err := join([]*tensor.Tensor{x, x}, 0, []piece{{0, 0, 1}, {1, 0, 1}})
				require.NoError(t, err)
				x = y
			}
			return []*il.TensorFile{held("cpu", x)}
		}),
	} {
		joined, _ := Canonical(s, nil, 0)
		require.NotEmpty(t, joined.Steps)
		for slot := range slots(joined) {
			require.False(t, slot.module == sharedRope && slot.path == "0", "%s: %v", name, slot)
		}
	}
}
