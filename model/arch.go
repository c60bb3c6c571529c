package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// architectures maps an entry of config.json's "architectures" to how it
// differs from Llama.
var architectures = map[string]func(*Config) decoder{
	"LlamaForCausalLM":   newLlama,
	"MistralForCausalLM": newMistral,
	"Phi3ForCausalLM":    newPhi3,
	"Qwen2ForCausalLM":   newQwen2,
	"Qwen3ForCausalLM":   newQwen3,
}

// CausalLM is a decoder-only language model: the tree of modules that vLLM
// registers hooks on, under the same names.
type CausalLM struct {
	Config *Config
	Model  *nn.DecoderModel

	logits  *nn.LogitsProcessor
	head    il.Object
	modules []nn.Module
}

// Options say how a model is going to run.
type Options struct {
	MaxModelLen int         // positions a request may use; 0 = the model's; decides longrope's table
	DynamicRope DynamicRope // how dynamic rope scaling is computed
}

// DynamicRope names a rule of dynamic rope scaling.
type DynamicRope string

// The rules of dynamic rope scaling.
const (
	DynamicVLLM         DynamicRope = "vllm"         // one theta for all lengths
	DynamicTransformers DynamicRope = "transformers" // theta by the current length
)

// Build makes the module tree of a checkpoint and finds the weight of every
// module. The weights stay where they are: in the mapped checkpoint.
func Build(c *Checkpoint, o Options) (*CausalLM, error) {
	if o.MaxModelLen == 0 {
		o.MaxModelLen = c.Config.MaxPositionEmbeddings
	}
	for _, a := range c.Config.Architectures {
		if describe := architectures[a]; describe != nil {
			m, err := describe(c.Config).build(c, o)
			if err != nil {
				return nil, err
			}
			m.Config = c.Config
			m.modules = append(m.Model.Modules(), m.logits)
			return m, nil
		}
	}
	known := make([]string, 0, len(architectures))
	for a := range architectures {
		known = append(known, a)
	}
	slices.Sort(known)
	return nil, fmt.Errorf("%s: architecture %s is not supported: expected %s",
		c.Config.File, strings.Join(c.Config.Architectures, ", "), strings.Join(known, ", "))
}

// Forward runs the root module: input_ids (T,) int32 and positions (T,) int64
// to hidden states (T, H). The caller then ends the step, as the root's
// forward hook does.
func (m *CausalLM) Forward(s *nn.Step, inputIDs, positions *tensor.Tensor) *tensor.Tensor {
	return m.Model.Forward(s, inputIDs, positions)
}

// Logits maps hidden states (N, H) to logits (N, V). vLLM calls it after the
// root's forward hook, so the next step logs it.
func (m *CausalLM) Logits(s *nn.Step, hidden *tensor.Tensor) *tensor.Tensor {
	return s.Call(m.logits, m.head, hidden, nil).(*tensor.Tensor)
}

// Head is the lm_head module, the first argument of logits_processor.
func (m *CausalLM) Head() il.Object { return m.head }

// Modules returns the modules that are called, in the order in which PyTorch's
// named_modules lists them.
func (m *CausalLM) Modules() []nn.Module { return m.modules }

// ModuleNames returns the names of Modules.
func (m *CausalLM) ModuleNames() []string {
	names := make([]string, len(m.modules))
	for i, mod := range m.modules {
		names[i] = mod.Name()
	}
	return names
}
