//go:build unix

package ref

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// BenchmarkMixture decodes with four layers of Qwen3-30B-A3B's geometry: 128 experts, of
// which a token takes 8. ILREF_BENCH_MIXTURE is a folder for its 5 GB, which are made
// once. The share is that of the bytes that a token takes, weights of the experts chosen and all
// others, in what the threads can read from memory.
func BenchmarkMixture(b *testing.B) {
	dir := os.Getenv("ILREF_BENCH_MIXTURE")
	if dir == "" {
		b.Skip("ILREF_BENCH_MIXTURE names no folder for a checkpoint of 5 GB")
	}
	makeMixture(b, dir)
	ckpt, err := model.Open(dir)
	require.NoError(b, err)
	defer ckpt.Close()
	m, err := model.Build(ckpt, model.Options{})
	require.NoError(b, err)
	e, err := NewEngine(m, Config{DType: tensor.BFloat16, Rounding: nn.VLLM2025, Threads: runtime.GOMAXPROCS(0)})
	require.NoError(b, err)
	const tokens = 65
	run := func(tokens int) {
		require.NoError(b, e.Generate(context.Background(), []*Request{{Prompt: []int{3}, MaxTokens: tokens}}, 1, func(int, int, int, int) {}))
	}
	touch(b, dir)
	run(tokens)
	memory := make([]byte, 512<<20)
	for i := range memory {
		memory[i] = byte(i)
	}
	read, used := newest(), newest()
	for b.Loop() {
		b.StopTimer()
		for range 3 {
			read.least(func() { readAll(memory) })
		}
		b.StartTimer()
		used.least(func() { run(tokens) })
	}
	bytes := tokens * activeBytes(m)
	b.ReportMetric(tokens/used.wall.Seconds(), "tokens/s")
	b.ReportMetric(bytes/used.wall.Seconds()/1e9, "GB/s")
	b.ReportMetric(float64(len(memory))/read.wall.Seconds()/1e9, "GB/s-memory")
	b.ReportMetric(bytes/used.wall.Seconds()/(float64(len(memory))/read.wall.Seconds()), "share")
	b.ReportMetric(bytes/used.cpu.Seconds()/(float64(len(memory))/read.cpu.Seconds()), "cpu-share")
}

func newest() *cost { return &cost{math.MaxInt64, math.MaxInt64} }

// least keeps the least time of all that were measured: others use the machine, too.
func (c *cost) least(f func()) {
	var x cost
	x.add(f)
	c.wall, c.cpu = min(c.wall, x.wall), min(c.cpu, x.cpu)
}

// activeBytes are those of the weights that a token takes.
func activeBytes(m *model.CausalLM) float64 {
	sum := 0
	for _, x := range m.Modules() {
		n := 0
		for _, p := range x.Params() {
			n += p.Tensor.NumBytes()
		}
		switch x := x.(type) {
		case *nn.Experts:
			n = n / len(x.Experts) * x.Routing.TopK()
		case *nn.Embedding:
			n = 0 // a row of it; the head has as many bytes
		}
		sum += n
	}
	head := m.Module("logits_processor").(*nn.LogitsProcessor).Head.Params()[0].Tensor
	return float64(sum + head.NumBytes())
}

// touch reads the checkpoint, so that its pages are in memory.
func touch(b *testing.B, dir string) {
	f, err := os.Open(filepath.Join(dir, "model.safetensors"))
	require.NoError(b, err)
	defer f.Close()
	buffer := make([]byte, 1<<20)
	for {
		if n, _ := f.Read(buffer); n == 0 {
			return
		}
	}
}

// readAll takes all from memory with all threads, more than a cache holds.
func readAll(memory []byte) {
	var wg sync.WaitGroup
	for part := range slices.Chunk(memory, len(memory)/runtime.GOMAXPROCS(0)/32*32) {
		wg.Go(func() { sink.Add(xor(part)) })
	}
	wg.Wait()
}

var sink atomic.Uint64

// xor reads every byte once.
func xor(b []byte) uint64 {
	var x0, x1, x2, x3 uint64
	for ; len(b) >= 32; b = b[32:] {
		x0 ^= binary.LittleEndian.Uint64(b)
		x1 ^= binary.LittleEndian.Uint64(b[8:])
		x2 ^= binary.LittleEndian.Uint64(b[16:])
		x3 ^= binary.LittleEndian.Uint64(b[24:])
	}
	return x0 ^ x1 ^ x2 ^ x3
}

// makeMixture writes the checkpoint where the folder does not have it. All tensors take their
// bytes from one block of random bfloat16 numbers, and every one has pages of its own.
func makeMixture(b *testing.B, dir string) {
	file := filepath.Join(dir, "model.safetensors")
	if _, err := os.Stat(file); err == nil {
		return
	}
	const h, inter, q, kv, headDim, experts, layers, vocab = 2048, 768, 4096, 512, 128, 128, 4, 8192
	var header []string
	end := 0
	add := func(name string, shape ...int) {
		n := 2
		for _, d := range shape {
			n *= d
		}
		text := strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", ",")
		header = append(header, fmt.Sprintf(`%q:{"dtype":"BF16","shape":[%s],"data_offsets":[%d,%d]}`, name, text, end, end+n))
		end += n
	}
	add("model.embed_tokens.weight", vocab, h)
	for i := range layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		add(p+"self_attn.q_proj.weight", q, h)
		add(p+"self_attn.k_proj.weight", kv, h)
		add(p+"self_attn.v_proj.weight", kv, h)
		add(p+"self_attn.o_proj.weight", h, q)
		add(p+"self_attn.q_norm.weight", headDim)
		add(p+"self_attn.k_norm.weight", headDim)
		add(p+"mlp.gate.weight", experts, h)
		for e := range experts {
			x := fmt.Sprintf("%smlp.experts.%d.", p, e)
			add(x+"gate_proj.weight", inter, h)
			add(x+"up_proj.weight", inter, h)
			add(x+"down_proj.weight", h, inter)
		}
		add(p+"input_layernorm.weight", h)
		add(p+"post_attention_layernorm.weight", h)
	}
	add("model.norm.weight", h)
	add("lm_head.weight", vocab, h)
	rng := rand.New(rand.NewPCG(1, 2))
	values := make([]float32, 1<<20+1<<10) // no multiple of a row, so that rows differ
	for i := range values {
		values[i] = float32(rng.NormFloat64()) * 0.02
	}
	block := tensor.FromFloat32s(tensor.BFloat16, values, len(values)).Data
	require.NoError(b, os.MkdirAll(dir, 0o755))
	config := fmt.Sprintf(`{"architectures":["Qwen3MoeForCausalLM"],"model_type":"qwen3_moe","dtype":"bfloat16","hidden_size":%d,"intermediate_size":6144,
		"moe_intermediate_size":%d,"num_experts":%d,"num_experts_per_tok":8,"norm_topk_prob":true,"decoder_sparse_step":1,"mlp_only_layers":[],
		"num_hidden_layers":%d,"num_attention_heads":32,"num_key_value_heads":4,"head_dim":%d,"vocab_size":%d,"max_position_embeddings":8192,
		"rms_norm_eps":1e-6,"hidden_act":"silu","rope_theta":1000000.0,"tie_word_embeddings":false}`, h, inter, experts, layers, headDim, vocab)
	require.NoError(b, os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o644))
	f, err := os.Create(file + ".part")
	require.NoError(b, err)
	w := bufio.NewWriterSize(f, 1<<20)
	text := "{" + strings.Join(header, ",") + "}"
	_, err = w.Write(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...))
	require.NoError(b, err)
	for ; end > 0; end -= len(block) {
		_, err = w.Write(block[:min(len(block), end)])
		require.NoError(b, err)
	}
	require.NoError(b, w.Flush())
	require.NoError(b, f.Close())
	require.NoError(b, os.Rename(file+".part", file))
}
