package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ilref/ilref/topology"
)

// architecture is what an entry of config.json's "architectures" names.
type architecture struct {
	build   func(*builder) *CausalLM // its tree
	dialect                          // of its config.json
}

// architectures are all that there are.
var architectures = map[string]architecture{
	"DeepseekV2ForCausalLM": {build: newDeepseekForCausalLM, dialect: deepseekV2Dialect},
	"DeepseekV3ForCausalLM": {build: newDeepseekForCausalLM, dialect: deepseekV3Dialect},
	"Glm4MoeForCausalLM":    {build: newGlm4MoeForCausalLM, dialect: glm4MoeDialect},
	"Gemma2ForCausalLM":     {build: newGemma2ForCausalLM, dialect: gemma2Dialect},
	"Gemma3ForCausalLM":     {build: newGemma3ForCausalLM, dialect: gemma3Dialect},
	"GptOssForCausalLM":     {build: newGptOssForCausalLM, dialect: gptOssDialect},
	"Exaone4ForCausalLM":    {build: newExaone4ForCausalLM, dialect: exaone4Dialect},
	"GraniteMoeForCausalLM": {build: newGraniteMoeForCausalLM, dialect: graniteMoeDialect},
	"CohereForCausalLM":     {newCohereForCausalLM, cohereDialect},
	"Cohere2ForCausalLM":    {newCohereForCausalLM, cohere2Dialect},
	"Ernie4_5ForCausalLM":   {newErnie45ForCausalLM, ernie45Dialect},
	"GlmForCausalLM":        {newGlmForCausalLM, glmDialect},
	"Glm4ForCausalLM":       {newGlm4ForCausalLM, glm4Dialect},
	"GraniteForCausalLM":    {newGraniteForCausalLM, graniteDialect},
	"SeedOssForCausalLM":    {newSeedOssForCausalLM, seedOssDialect},
	"Llama4ForCausalLM":     {build: newLlama4ForCausalLM, dialect: llama4Dialect},
	"LlamaForCausalLM":      {build: newLlamaForCausalLM},
	"MistralForCausalLM":    {build: newMistralForCausalLM},
	"MixtralForCausalLM":    {build: newMixtralForCausalLM, dialect: mixtralDialect},
	"Olmo2ForCausalLM":      {build: newOlmo2ForCausalLM},
	"Olmo3ForCausalLM":      {build: newOlmo3ForCausalLM, dialect: olmo3Dialect},
	"SmolLM3ForCausalLM":    {build: newSmolLM3ForCausalLM, dialect: smolLM3Dialect},
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
			m.Config, m.Entry = c.Config, topology.ByName(a, o.Era)
			m.list(b.root.Children())
			return m, nil
		}
	}
	return nil, fmt.Errorf("%s: architecture %s is not supported: expected %s",
		c.Config.File, strings.Join(c.Config.Architectures, ", "), strings.Join(Architectures(), ", "))
}
