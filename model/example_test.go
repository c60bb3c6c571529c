package model_test

import (
	"fmt"
	"log"

	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// One forward pass of three tokens, and the logits of the last.
func ExampleBuild() {
	ckpt, err := model.Open("../testdata/architectures/olmo2")
	if err != nil {
		log.Fatal(err)
	}
	defer ckpt.Close()
	m, err := model.Build(ckpt, model.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range m.ModuleNames()[:4] {
		fmt.Println(name, m.Module(name).Spec().Class)
	}

	numerics, err := nn.NewNumerics(tensor.Float32, nn.VLLM2025, 1)
	if err != nil {
		log.Fatal(err)
	}
	step := &nn.Step{Numerics: numerics, Hooks: nn.NoHooks{}, Spans: []nn.Span{{Lo: 0, Hi: 3, Cache: nn.NewCache()}}}
	hidden := m.Forward(step, tensor.FromInts(tensor.Int32, []int{1, 17, 30}, 3), tensor.FromInts(tensor.Int64, []int{0, 1, 2}, 3))
	fmt.Println(m.Logits(step, hidden.Narrow(0, 2, 3)))
	// Output:
	// model.embed_tokens VocabParallelEmbedding
	// model.layers.0 Olmo2DecoderLayer
	// model.layers.0.self_attn Olmo2Attention
	// model.layers.0.self_attn.qkv_proj QKVParallelLinear
	// float32[1,160]
}
