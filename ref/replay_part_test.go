package ref

import (
	"context"
	"fmt"
	"hash/fnv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// Parts of a replay hold what the whole holds, to the bit: what a call reads
// of others, the keys and values of earlier steps, lies in other parts.
func TestReplayPart(t *testing.T) {
	ckpt, err := model.Open(fixture.Checkpoint("llama3-gqa"))
	require.NoError(t, err)
	defer ckpt.Close()
	m, err := model.Build(ckpt, model.Options{})
	require.NoError(t, err)
	engine, err := NewEngine(m, Config{DType: tensor.BFloat16, Rounding: nn.VLLM2025, Threads: 2})
	require.NoError(t, err)
	for _, name := range []string{"llama3-gqa-bf16", "llama3-gqa-bf16-chunk4", "llama3-gqa-bf16-batch3"} {
		s, err := il.Open(fixture.Session(t, name))
		require.NoError(t, err)
		replay := func(own func(string, int) bool) *keeper {
			k := &keeper{shown: map[string]string{}}
			made, skipped, err := engine.ReplayPart(context.Background(), s, Part{Own: own}, k, func(int, int, int, int) {})
			require.NoError(t, err)
			require.Empty(t, skipped)
			require.Equal(t, k.made, made)
			return k
		}
		whole := replay(nil)
		const n = 5
		together := map[string]string{}
		for i := range uint32(n) {
			part := replay(func(module string, call int) bool {
				h := fnv.New32a()
				fmt.Fprint(h, module, call)
				return h.Sum32()%n == i
			})
			for k, v := range part.shown {
				require.Equal(t, whole.shown[k], v, "%s of part %d", k, i)
				together[k] = v
			}
			for _, st := range s.Steps { // every part tells the tokens
				if st.Calls[0].Module != "logits_processor" || len(st.Calls) > 1 {
					require.Contains(t, part.shown, fmt.Sprintf("%d model.embed_tokens 0 in 0", st.Number))
				}
			}
		}
		require.Equal(t, whole.shown, together)
	}
}

// keeper keeps all that it is shown.
type keeper struct {
	step, call, made int
	shown            map[string]string
}

func (k *keeper) SkipTo(step int)            { k.step = step }
func (k *keeper) SetCall(_ string, call int) { k.call = call }
func (k *keeper) Err() error                 { return nil }

func (k *keeper) Noise(module, slot string, z *tensor.Tensor) {
	k.shown[fmt.Sprintf("%d %s %d noise %s", k.step, module, k.call, slot)] = z.String() + string(z.Bytes())
}

func (k *keeper) Pre(module string, args il.Tuple) il.Tuple {
	k.keep(module, "in", args)
	return args
}

func (k *keeper) Post(module string, _ il.Tuple, out il.Value) {
	k.made++
	if x, ok := out.(il.Tuple); ok {
		k.keep(module, "out", x)
	} else {
		k.keep(module, "out", il.Tuple{out})
	}
}

func (k *keeper) keep(module, direction string, values il.Tuple) {
	for i := range values {
		if x := values.Tensor(i); x != nil {
			k.shown[fmt.Sprintf("%d %s %d %s %d", k.step, module, k.call, direction, i)] = x.String() + string(x.Bytes())
		}
	}
}
