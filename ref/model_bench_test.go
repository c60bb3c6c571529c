//go:build unix

package ref

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// BenchmarkModel is whole runs: the forward pass of a prompt of 512 tokens, and
// 64 tokens that follow one another. The model is that of BenchmarkLogging.
func BenchmarkModel(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // seldom, as in cmd/ilref
	ckpt := benchCheckpoint(b)
	for _, c := range []struct {
		name           string
		prompt, tokens int
	}{{"prefill512", 512, 1}, {"decode64", 1, 64}} {
		for _, dtype := range []tensor.DType{tensor.BFloat16, tensor.Float32} {
			b.Run(fmt.Sprint(c.name, "/", dtype), func(b *testing.B) {
				m, err := model.Build(ckpt, model.Options{})
				require.NoError(b, err)
				e, err := NewEngine(m, Config{DType: dtype, Rounding: nn.VLLM2025, Threads: runtime.GOMAXPROCS(0)})
				require.NoError(b, err)
				prompt := make([]int, c.prompt)
				for i := range prompt {
					prompt[i] = 3 + i
				}
				run := func(prompt []int, tokens int) {
					request := []*Request{{Prompt: prompt, MaxTokens: tokens}}
					require.NoError(b, e.Generate(context.Background(), request, len(prompt), func(int, int, int, int) {}))
				}
				run(prompt[:1], 1) // the checkpoint's pages are mapped
				for b.Loop() {
					run(prompt, c.tokens)
				}
				tokens := float64(max(c.prompt, c.tokens) * b.N)
				b.ReportMetric(tokens/b.Elapsed().Seconds(), "tokens/s")
			})
		}
	}
}
