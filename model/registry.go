package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// architectures maps an entry of config.json's "architectures" to what builds
// its tree.
var architectures = map[string]func(*builder) *CausalLM{
	"LlamaForCausalLM":   newLlamaForCausalLM,
	"MistralForCausalLM": newMistralForCausalLM,
	"Phi3ForCausalLM":    newPhi3ForCausalLM,
	"Qwen2ForCausalLM":   newQwen2ForCausalLM,
	"Qwen3ForCausalLM":   newQwen3ForCausalLM,
}

// Build makes the module tree of a checkpoint and finds the weight of every
// module. The weights stay where they are: in the mapped checkpoint.
func Build(c *Checkpoint, o Options) (*CausalLM, error) {
	if o.MaxModelLen == 0 {
		o.MaxModelLen = c.Config.MaxPositionEmbeddings
	}
	for _, a := range c.Config.Architectures {
		if build := architectures[a]; build != nil {
			b := newBuilder(c, o, a)
			m := build(b)
			if b.err != nil {
				return nil, b.err
			}
			m.Config = c.Config
			m.list(b.root.Children())
			return m, nil
		}
	}
	return nil, fmt.Errorf("%s: architecture %s is not supported: expected %s",
		c.Config.File, strings.Join(c.Config.Architectures, ", "), strings.Join(slices.Sorted(maps.Keys(architectures)), ", "))
}
