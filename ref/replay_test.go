package ref

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// TestReplayIsolatesFaults replays sessions of a model with a fault through the
// right model: only the module at fault, and the modules around it, give other
// outputs than recorded, however far the fault has spread.
func TestReplayIsolatesFaults(t *testing.T) {
	for _, tc := range []struct {
		session, checkpoint string
		faulty              []string
	}{
		{"llama3-gqa-bf16", "llama3-gqa", nil},
		{"llama3-gqa-bf16-batch3", "llama3-gqa", nil},
		{"llama3-gqa-bf16-chunk4", "llama3-gqa", nil},
		{"llama3-gqa-bf16-pad5", "llama3-gqa", nil},
		{"gopher-1m-bf16", "gopher-1m", nil},
		{"gopher-1m-bf16-fault", "gopher-1m", []string{"model.layers.0", "model.layers.0.mlp", "model.layers.0.mlp.act_fn"}},
		{"llama3-gqa-bf16-fault-row_scale", "llama3-gqa", []string{"model.layers.0", "model.layers.0.self_attn", "model.layers.0.self_attn.o_proj"}},
		{"llama3-gqa-bf16-fault-kv_swapped", "llama3-gqa", []string{"model.layers.1", "model.layers.1.self_attn", "model.layers.1.self_attn.qkv_proj"}},
		{"llama3-gqa-bf16-fault-rope_theta", "llama3-gqa", []string{
			"model.layers.0", "model.layers.0.self_attn", "model.layers.0.self_attn.rotary_emb",
			"model.layers.1", "model.layers.1.self_attn", "model.layers.2", "model.layers.2.self_attn",
		}},
	} {
		t.Run(tc.session, func(t *testing.T) {
			ckpt, err := model.Open(fixture.Checkpoint(tc.checkpoint))
			require.NoError(t, err)
			defer ckpt.Close()
			m, err := model.Build(ckpt, model.Options{})
			require.NoError(t, err)
			s, err := il.Open(fixture.Session(t, tc.session))
			require.NoError(t, err)
			engine, err := NewEngine(m, Config{DType: tensor.BFloat16, Rounding: nn.VLLM2025, Threads: 2})
			require.NoError(t, err)
			rec := &counting{t: t, session: s, counts: map[string]*count{}}
			skipped, err := engine.Replay(context.Background(), s, nil, rec, func(int, int, int, int) {})
			require.NoError(t, err)
			require.Empty(t, skipped)
			var faulty []string
			for name, c := range rec.counts {
				if float64(c.equal) < 0.98*float64(c.total) { // leaf modules reach 99 %, whole layers a little less
					faulty = append(faulty, name)
				}
			}
			slices.Sort(faulty)
			require.Equal(t, tc.faulty, faulty)
		})
	}
}

// TestReplayReasons lists what cannot be replayed.
func TestReplayReasons(t *testing.T) {
	ckpt, err := model.Open(fixture.Checkpoint("llama3-gqa"))
	require.NoError(t, err)
	defer ckpt.Close()
	m, err := model.Build(ckpt, model.Options{})
	require.NoError(t, err)
	replay := func(session string, dtype tensor.DType) map[string]string {
		s, err := il.Open(fixture.Session(t, session))
		require.NoError(t, err)
		engine, err := NewEngine(m, Config{DType: dtype, Rounding: nn.VLLM2025, Threads: 1})
		require.NoError(t, err)
		rec := &counting{t: t, session: &il.Session{}, counts: map[string]*count{}} // compares nothing
		skipped, err := engine.Replay(context.Background(), s, nil, rec, func(int, int, int, int) {})
		require.NoError(t, err)
		reasons := map[string]string{}
		for _, u := range skipped {
			reasons[fmt.Sprintf("step_%d %s", u.Step, u.Module)] = u.Reason
		}
		return reasons
	}
	tp := replay("llama3-gqa-bf16-tp2", tensor.BFloat16)
	require.Equal(t, "inputs 0 of model.layers.0.mlp.down_proj differs between the 2 ranks that logged it: parts of tensor-parallel ranks are not put together", tp["step_0 model.layers.0.mlp.down_proj"])
	require.NotContains(t, tp, "step_0 model.layers.0.input_layernorm", "the ranks hold the same")
	large := replay("llama3-gqa-bf16-max1000", tensor.BFloat16)
	require.Equal(t, "inputs 0 of model.layers.0.mlp.down_proj was too large to be logged", large["step_0 model.layers.0.mlp.down_proj"])
	require.NotContains(t, large, "step_0 model.layers.0.self_attn.attn")
	typed := replay("llama3-gqa-bf16", tensor.Float32)
	require.Equal(t, "input 0 is bfloat16[11,64], expected float32 (T, 64)", typed["step_0 model.layers.1.mlp"])
}

// TestReplayRotates replays attention that recorded neither queries nor keys,
// nor its rotary embedding what it returned: as transformers has it.
func TestReplayRotates(t *testing.T) {
	ckpt, err := model.Open(fixture.Checkpoint("llama3-gqa"))
	require.NoError(t, err)
	defer ckpt.Close()
	m, err := model.Build(ckpt, model.Options{})
	require.NoError(t, err)
	engine, err := NewEngine(m, Config{DType: tensor.BFloat16, Rounding: nn.VLLM2025, Threads: 1})
	require.NoError(t, err)
	replay := func(drop func(c *il.Call, slot *il.Slot) bool) ([]SkippedCall, map[string]*count) {
		dir := fixture.Session(t, "llama3-gqa-bf16")
		whole, err := il.Open(dir)
		require.NoError(t, err)
		s, err := il.Open(dir)
		require.NoError(t, err)
		for _, st := range s.Steps {
			for _, c := range st.Calls {
				c.Slots = slices.DeleteFunc(c.Slots, func(slot *il.Slot) bool { return drop(c, slot) })
			}
		}
		rec := &counting{t: t, session: whole, counts: map[string]*count{}}
		skipped, err := engine.Replay(context.Background(), s, nil, rec, func(int, int, int, int) {})
		require.NoError(t, err)
		return skipped, rec.counts
	}
	const attn, rope = "model.layers.1.self_attn.attn", "model.layers.0.self_attn.rotary_emb"
	rotated := func(c *il.Call, slot *il.Slot) bool {
		return c.Module == attn && slot.Direction == il.Inputs && slot.Path != "2"
	}
	for _, outputs := range []bool{true, false} {
		skipped, counts := replay(func(c *il.Call, slot *il.Slot) bool {
			return rotated(c, slot) || !outputs && c.Module == rope && slot.Direction == il.Outputs && c.Index == 1
		})
		require.Empty(t, skipped)
		require.Greater(t, float64(counts[attn].equal), 0.98*float64(counts[attn].total))
	}
	skipped, _ := replay(func(c *il.Call, slot *il.Slot) bool { return rotated(c, slot) || c.Module == rope && c.Index == 1 })
	reasons := map[string]string{}
	for _, u := range skipped {
		reasons[fmt.Sprintf("step_%d %s %d", u.Step, u.Module, u.Call)] = u.Reason
	}
	require.Equal(t, "inputs 0 of model.layers.0.self_attn.rotary_emb was not logged", reasons["step_0 "+attn+" 0"])
	require.Equal(t, "the keys and values of positions 0 to 10 were not logged (an earlier step was not, or they came from a prefix cache)", reasons["step_1 model.layers.1 0"])
	require.NotContains(t, reasons, "step_0 model.layers.1 0")
}

// counting counts the elements of replayed outputs that equal the recorded
// ones, by module.
type counting struct {
	t       *testing.T
	session *il.Session
	step    int
	next    map[string]int
	counts  map[string]*count
}

func (c *counting) SkipTo(step int)                      { c.step, c.next = step, map[string]int{} }
func (c *counting) SetCall(module string, call int)      { c.next[module] = call }
func (c *counting) Noise(string, string, *tensor.Tensor) {}
func (c *counting) Err() error                           { return nil }
func (c *counting) Pre(_ string, args il.Tuple) il.Tuple { return args }
func (c *counting) Post(module string, _ il.Tuple, o il.Value) {
	out, ok := o.(il.Tuple)
	if !ok {
		out = il.Tuple{o}
	}
	n := c.counts[module]
	if n == nil {
		n = &count{}
		c.counts[module] = n
	}
	for _, st := range c.session.Steps {
		for _, call := range st.Calls {
			if st.Number != c.step || call.Module != module || call.Index != c.next[module] {
				continue
			}
			for i := range out {
				slot := call.Slot(il.Outputs, strconv.Itoa(i))
				if got := out.Tensor(i); got != nil && (slot == nil || slot.Stub == nil) {
					want := readSlot(c.t, call, il.Outputs, i)
					require.Equal(c.t, want.Shape, got.Shape)
					n.add(got.Bytes(), want.Bytes(), want.DType.Size())
				}
			}
		}
	}
}
