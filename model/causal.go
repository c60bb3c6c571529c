// Package model opens Hugging Face checkpoints and builds of them the module
// trees that vLLM runs, under vLLM's names.
//
//	checkpoint*.go   a folder with its configs, its mapped weights and its tokenizer
//	config*.go       config.json, of which every field is understood or refused
//	builder.go       what registers modules and finds their weights
//	llama.go, ...    an architecture each, to be read beside vLLM's file of that name
//	registry.go      the list of them
//
// What modules compute is in model/nn, and who calls them in ref.
package model

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// CausalLM is a decoder-only language model: the tree of modules that vLLM
// registers hooks on, under the same names.
type CausalLM struct {
	Config *Config
	// NoFloat16 says why the model cannot be computed in float16; "" where it can.
	NoFloat16 string
	// RootBypassed says that the root's own hooks never fire: vLLM replaces the __call__ of
	// its class too (@support_torch_compile on the whole model). What the root's forward hook
	// does, ending a step, then never happens.
	RootBypassed bool
	Entry        *topology.Architecture // its names

	model   decoder
	logits  *nn.LogitsProcessor
	modules []nn.Module
	byName  map[string]nn.Module
}

// decoder is the module "model" of an architecture. Its own hooks never fire
// (vLLM replaces its __call__), so it is no nn.Module.
type decoder interface {
	// Forward maps input_ids (T,) int32 and positions (T,) int64 to hidden
	// states (T, H).
	Forward(s *nn.Step, inputIDs, positions *tensor.Tensor) *tensor.Tensor
}

// Options say how a model is going to run.
type Options struct {
	MaxModelLen int          // positions a request may use; 0 = the model's; decides longrope's table in vLLM
	DynamicRope DynamicRope  // what dynamic rope scaling and longrope go by; "" = DynamicVLLM
	Era         topology.Era // whose tree of modules vLLM builds
}

// DynamicRope names a rule of dynamic rope scaling and of longrope.
type DynamicRope string

// The rules.
const (
	DynamicVLLM         DynamicRope = "vllm"         // one theta, and longrope's table by the positions a request may use
	DynamicTransformers DynamicRope = "transformers" // the length of each request so far
)

// DynamicRopeOf is the rule of the engine whose rounding points a profile has.
func DynamicRopeOf(r nn.Rounding) DynamicRope {
	if r.Engine() == "transformers" {
		return DynamicTransformers
	}
	return DynamicVLLM
}

// OptionsOf are the options of the engine whose rounding points a profile has.
func OptionsOf(r nn.Rounding) Options {
	return Options{DynamicRope: DynamicRopeOf(r), Era: r.Era()}
}

// list sets the modules that are called.
func (m *CausalLM) list(children []nn.Module) {
	m.modules = nn.Named(children...)
	m.byName = map[string]nn.Module{}
	for _, x := range m.modules {
		m.byName[x.Name()] = x
	}
}

// Forward runs the root module: input_ids (T,) int32 and positions (T,) int64
// to hidden states (T, H). The caller then ends the step, as the root's
// forward hook does.
func (m *CausalLM) Forward(s *nn.Step, inputIDs, positions *tensor.Tensor) *tensor.Tensor {
	return m.model.Forward(s, inputIDs, positions)
}

// Logits maps hidden states (N, H) to logits (N, V). vLLM calls it after the
// root's forward hook, so the next step logs it.
func (m *CausalLM) Logits(s *nn.Step, hidden *tensor.Tensor) *tensor.Tensor {
	args := []il.Value{m.logits.Object, hidden}
	if m.logits.Bias {
		args = append(args, nil)
	}
	return s.Call(m.logits, args...).(*tensor.Tensor)
}

// Head is the lm_head module, the first argument of logits_processor.
func (m *CausalLM) Head() il.Object { return m.logits.Object }

// Modules returns the modules that are called, in the order in which PyTorch's
// named_modules lists them.
func (m *CausalLM) Modules() []nn.Module { return m.modules }

// Module returns the module of a name, nil where no such module is called.
func (m *CausalLM) Module(name string) nn.Module { return m.byName[name] }

// ModuleNames returns the names of Modules.
func (m *CausalLM) ModuleNames() []string {
	names := make([]string, len(m.modules))
	for i, mod := range m.modules {
		names[i] = mod.Name()
	}
	return names
}
