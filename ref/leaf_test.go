package ref

import (
	"bytes"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// TestLeafModulesBitByBit gives each leaf module the inputs that PyTorch
// recorded, attention with the keys and values of the session's own earlier
// calls, and compares the outputs' bits. Only the summation order of matrix
// products and the last place of exp may differ, and then only where a sum
// falls next to a rounding boundary: at least 99 % of the elements of each
// module are equal.
func TestLeafModulesBitByBit(t *testing.T) {
	for session, checkpoint := range map[string]string{
		"llama3-gqa-bf16":        "llama3-gqa",
		"llama3-gqa-bf16-batch3": "llama3-gqa",
		"llama3-gqa-bf16-chunk4": "llama3-gqa",
		"llama31-rope-bf16":      "llama31-rope",
		"qwen2-bias-bf16":        "qwen2-bias",
		"gopher-1m-bf16":         "gopher-1m",
	} {
		t.Run(session, func(t *testing.T) {
			ckpt, err := model.Open(fixture.Checkpoint(checkpoint))
			require.NoError(t, err)
			defer ckpt.Close()
			m, err := model.Build(ckpt, model.Options{})
			require.NoError(t, err)
			s, err := il.Open(fixture.Session(t, session))
			require.NoError(t, err)
			shares := replayLeaves(t, m, s)
			require.Greater(t, len(shares), 8*m.Config.NumHiddenLayers)
			for name, c := range shares {
				require.GreaterOrEqual(t, float64(c.equal), 0.99*float64(c.total), "%s: %d of %d elements equal", name, c.equal, c.total)
			}
		})
	}
}

type count struct{ equal, total int }

func replayLeaves(t *testing.T, m *model.CausalLM, s *il.Session) map[string]*count {
	plan, err := requests.Read(s, nil)
	require.NoError(t, err)
	numerics, err := nn.NewNumerics(tensor.BFloat16, nn.VLLM2025, 2)
	require.NoError(t, err)
	modules := map[string]nn.Module{}
	for _, mod := range m.Modules() {
		modules[mod.Name()] = mod
	}
	spans := map[int][]nn.Span{}
	caches := map[int]*nn.Cache{}
	for _, st := range plan.Steps {
		row := 0
		for _, c := range st.Chunks {
			if caches[c.Request] == nil {
				caches[c.Request] = nn.NewCache()
			}
			spans[st.Number] = append(spans[st.Number], nn.Span{Lo: row, Hi: row + len(c.IDs), Cache: caches[c.Request]})
			row += len(c.IDs)
		}
	}
	out := map[string]*count{}
	for _, st := range s.Steps {
		for _, call := range st.Calls {
			mod := modules[call.Module]
			require.NotNil(t, mod, call.Module)
			if mod.Spec().Kind.IsBlock() {
				continue
			}
			step := &nn.Step{Numerics: numerics, Hooks: nn.NoHooks{}, Spans: spans[st.Number]}
			value := mod.Forward(step, recordedInputs(t, call))
			result, ok := value.(il.Tuple)
			if !ok {
				result = il.Tuple{value}
			}
			c := out[call.Module]
			if c == nil {
				c = &count{}
				out[call.Module] = c
			}
			for i := range result {
				if got := result.Tensor(i); got != nil {
					want := readSlot(t, call, il.Outputs, i)
					require.Equal(t, want.Shape, got.Shape, call.Module)
					c.add(got.Bytes(), want.Bytes(), want.DType.Size())
				}
			}
		}
	}
	return out
}

func (c *count) add(got, want []byte, size int) {
	for i := 0; i < len(want); i += size {
		c.total++
		if bytes.Equal(got[i:i+size], want[i:i+size]) {
			c.equal++
		}
	}
}

func recordedInputs(t *testing.T, call *il.Call) il.Tuple {
	var in il.Tuple
	if call.Module == "logits_processor" { // its first argument is a module
		in = append(in, nil)
	}
	for call.Slot(il.Inputs, strconv.Itoa(len(in))) != nil {
		in = append(in, readSlot(t, call, il.Inputs, len(in)))
	}
	return in
}

// readSlot returns a copy of a recorded tensor.
func readSlot(t *testing.T, call *il.Call, dir il.Direction, i int) *tensor.Tensor {
	slot := call.Slot(dir, strconv.Itoa(i))
	if slot == nil && i == 0 {
		slot = call.Slot(dir, "")
	}
	require.NotNil(t, slot, "%s %s %d", call.Module, dir, i)
	x, closer, err := slot.Tensors[0].Open()
	require.NoError(t, err)
	defer closer.Close()
	return x.Clone()
}
