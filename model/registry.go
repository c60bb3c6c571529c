package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// architecture is what an entry of config.json's "architectures" names.
type architecture struct {
	build   func(*builder) *CausalLM // its tree
	dialect                          // of its config.json
}

// architectures are all that there are.
var architectures = map[string]architecture{
	"GraniteMoeForCausalLM": {build: newGraniteMoeForCausalLM, dialect: graniteMoeDialect},
	"LlamaForCausalLM":      {build: newLlamaForCausalLM},
	"MistralForCausalLM":    {build: newMistralForCausalLM},
	"MixtralForCausalLM":    {build: newMixtralForCausalLM, dialect: mixtralDialect},
	"Olmo2ForCausalLM":      {build: newOlmo2ForCausalLM},
	"Phi3ForCausalLM":       {build: newPhi3ForCausalLM},
	"Qwen2ForCausalLM":      {build: newQwen2ForCausalLM},
	"Qwen2MoeForCausalLM":   {build: newQwen2MoeForCausalLM, dialect: qwen2MoeDialect},
	"Qwen3MoeForCausalLM":   {build: newQwen3MoeForCausalLM, dialect: qwen3MoeDialect},
	"Qwen3ForCausalLM":      {build: newQwen3ForCausalLM},
}

// Architectures lists the entries of "architectures" that can be built.
func Architectures() []string { return slices.Sorted(maps.Keys(architectures)) }

// Build makes the module tree of a checkpoint and finds the weight of every
// module. The weights stay where they are: in the mapped checkpoint.
func Build(c *Checkpoint, o Options) (*CausalLM, error) {
	if o.MaxModelLen == 0 {
		o.MaxModelLen = c.Config.MaxPositionEmbeddings
	}
	for _, a := range c.Config.Architectures {
		if known, ok := architectures[a]; ok {
			b := newBuilder(c, o, a)
			m := known.build(b)
			if b.err != nil {
				return nil, b.err
			}
			m.Config = c.Config
			m.list(b.root.Children())
			return m, nil
		}
	}
	return nil, fmt.Errorf("%s: architecture %s is not supported: expected %s",
		c.Config.File, strings.Join(c.Config.Architectures, ", "), strings.Join(Architectures(), ", "))
}
