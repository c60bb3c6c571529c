//go:build unix

package ref

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// BenchmarkLogging runs a model without a session, with a session of all
// modules and steps, and writes the files of that session again with plain
// os.WriteFile. logged/budget is the second over the sum of the first and the
// third; its goal is 1.15 at most. The model is the checkpoint that
// ILREF_BENCH_MODEL names, else four layers of Llama-3.2-1B's geometry with
// random weights. The files go to the folder that TMPDIR names.
func BenchmarkLogging(b *testing.B) {
	ckpt := benchCheckpoint(b)
	for _, c := range []struct {
		name           string
		prompt, tokens int
	}{{"prefill512", 512, 1}, {"decode64", 1, 64}} {
		b.Run(c.name, func(b *testing.B) {
			request := &Request{Prompt: make([]int, c.prompt), MaxTokens: c.tokens}
			for i := range request.Prompt {
				request.Prompt[i] = 3 + i
			}
			run := func(hooks Hooks) {
				m, err := model.Build(ckpt, model.Options{})
				require.NoError(b, err)
				e, err := NewEngine(m, Config{DType: tensor.BFloat16, Rounding: nn.VLLM2025, Threads: runtime.NumCPU()})
				require.NoError(b, err)
				e.Hooks = hooks
				r := *request
				require.NoError(b, e.Generate(context.Background(), []*Request{&r}, c.prompt, func(int, int, int, int) {}))
			}
			run(NoHooks{}) // the checkpoint's pages are read
			var plain, logged, written cost
			var files, bytes int
			for b.Loop() {
				plain.add(func() { run(NoHooks{}) })
				dir := b.TempDir()
				logged.add(func() {
					cfg := il.DefaultConfig()
					cfg.OutputDir, cfg.LogStepIDs = dir, nil
					l, err := il.NewLogger(cfg, il.LoggerOptions{SessionID: "logged"})
					require.NoError(b, err)
					run(l)
					require.NoError(b, l.Close())
				})
				files, bytes = writeAgain(b, &written, filepath.Join(dir, "logged"), filepath.Join(dir, "again"))
				require.NoError(b, os.RemoveAll(dir))
			}
			n := float64(b.N)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(plain.wall.Seconds()/n, "s-plain")
			b.ReportMetric(logged.wall.Seconds()/n, "s-logged")
			b.ReportMetric(written.wall.Seconds()/n, "s-WriteFile")
			b.ReportMetric(logged.wall.Seconds()/(plain.wall+written.wall).Seconds(), "logged/budget")
			b.ReportMetric(logged.cpu.Seconds()/(plain.cpu+written.cpu).Seconds(), "cpu-logged/budget")
			b.ReportMetric(float64(files), "files")
			b.ReportMetric(float64(bytes)/1e6, "MB")
		})
	}
}

// cost is time on the clock and of the processor: on a machine that others use
// the second is the one to compare.
type cost struct{ wall, cpu time.Duration }

func (c *cost) add(f func()) {
	cpu, start := processorTime(), time.Now()
	f()
	c.wall += time.Since(start)
	c.cpu += processorTime() - cpu
}

func processorTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// writeAgain writes the files below a directory to another one. c is what
// os.WriteFile takes, which makes no directory and reads nothing.
func writeAgain(b *testing.B, c *cost, from, to string) (files, bytes int) {
	require.NoError(b, filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if e.IsDir() {
			return os.MkdirAll(target, 0o777)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files, bytes = files+1, bytes+len(data)
		c.add(func() { err = os.WriteFile(target, data, 0o666) })
		return err
	}))
	return files, bytes
}

// benchCheckpoint opens or makes the model of the benchmark.
func benchCheckpoint(b *testing.B) *model.Checkpoint {
	dir := os.Getenv("ILREF_BENCH_MODEL")
	if dir == "" {
		return randomCheckpoint(b)
	}
	ckpt, err := model.Open(dir)
	require.NoError(b, err)
	b.Cleanup(func() { ckpt.Close() })
	return ckpt
}

// randomCheckpoint makes four layers of Llama-3.2-1B's geometry in memory. All
// tensors take their bytes from one block of random bfloat16 numbers.
func randomCheckpoint(b *testing.B) *model.Checkpoint {
	const h, inter, kv, layers, vocab = 2048, 8192, 512, 4, 32000
	shapes := [][]any{{"model.embed_tokens.weight", vocab, h}}
	for i := range layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		shapes = append(shapes, []any{p + "self_attn.q_proj.weight", h, h}, []any{p + "self_attn.k_proj.weight", kv, h},
			[]any{p + "self_attn.v_proj.weight", kv, h}, []any{p + "self_attn.o_proj.weight", h, h},
			[]any{p + "mlp.gate_proj.weight", inter, h}, []any{p + "mlp.up_proj.weight", inter, h}, []any{p + "mlp.down_proj.weight", h, inter},
			[]any{p + "input_layernorm.weight", h, 1}, []any{p + "post_attention_layernorm.weight", h, 1})
	}
	shapes = append(shapes, []any{"model.norm.weight", h, 1})
	var header []string
	end := 0
	for _, s := range shapes {
		shape, n := fmt.Sprintf("%d,%d", s[1], s[2]), s[1].(int)*s[2].(int)
		if s[2] == 1 {
			shape = fmt.Sprint(s[1])
		}
		header = append(header, fmt.Sprintf(`%q:{"dtype":"BF16","shape":[%s],"data_offsets":[%d,%d]}`, s[0], shape, end, end+2*n))
		end += 2 * n
	}
	text := "{" + strings.Join(header, ",") + "}"
	data := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	rng := rand.New(rand.NewPCG(1, 2))
	values := make([]float32, 1<<20)
	for i := range values {
		values[i] = float32(rng.NormFloat64()) * 0.02
	}
	block := tensor.FromFloat32s(tensor.BFloat16, values, len(values)).Data
	for end += len(data); len(data) < end; {
		data = append(data, block[:min(len(block), end-len(data))]...)
	}
	config := fmt.Sprintf(`{"architectures":["LlamaForCausalLM"],"model_type":"llama","dtype":"bfloat16","hidden_size":%d,"intermediate_size":%d,
		"num_hidden_layers":%d,"num_attention_heads":32,"num_key_value_heads":8,"head_dim":64,"vocab_size":%d,"max_position_embeddings":8192,
		"rms_norm_eps":1e-5,"hidden_act":"silu","rope_theta":500000.0,"tie_word_embeddings":true}`, h, inter, layers, vocab)
	ckpt, err := model.OpenFS("random weights", fstest.MapFS{
		"config.json": {Data: []byte(config)}, "model.safetensors": {Data: data},
	})
	require.NoError(b, err)
	return ckpt
}
