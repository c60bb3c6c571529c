package ref_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/ref"
)

// Generate logs what every module of layer 0's attention is given and returns. The
// rotary embedding is one object of that name, which the other layers call too.
func ExampleEngine_Generate() {
	ckpt, err := model.Open("../testdata/architectures/qwen3")
	if err != nil {
		log.Fatal(err)
	}
	defer ckpt.Close()
	m, err := model.Build(ckpt, model.Options{})
	if err != nil {
		log.Fatal(err)
	}
	engine, err := ref.NewEngine(m, ref.Config{}) // in the checkpoint's type
	if err != nil {
		log.Fatal(err)
	}

	cfg, err := il.ParseConfig("config", []byte(`{"module_call_match": ["layers\\.0\\.self_attn"]}`))
	if err != nil {
		log.Fatal(err)
	}
	if cfg.OutputDir, err = os.MkdirTemp("", "example"); err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(cfg.OutputDir)
	logger, err := il.NewLogger(cfg, il.LoggerOptions{})
	if err != nil {
		log.Fatal(err)
	}
	engine.Hooks = logger
	request := &ref.Request{Prompt: []int{1, 17, 30}, MaxTokens: 2}
	if err := logger.Finish(engine.Generate(context.Background(), []*ref.Request{request}, 8192, nil)); err != nil {
		log.Fatal(err)
	}

	s, err := il.Open(logger.Dir())
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range s.Steps[0].Calls {
		fmt.Println(c.Module)
	}
	fmt.Println(engine.DType(), len(request.Output), "tokens")
	// Output:
	// model.layers.0.self_attn
	// model.layers.0.self_attn.qkv_proj
	// model.layers.0.self_attn.q_norm
	// model.layers.0.self_attn.k_norm
	// model.layers.0.self_attn.rotary_emb
	// model.layers.0.self_attn.attn
	// model.layers.0.self_attn.o_proj
	// model.layers.0.self_attn.rotary_emb
	// model.layers.0.self_attn.rotary_emb
	// bfloat16 2 tokens
}
