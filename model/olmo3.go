package model

import (
	"math"
	"slices"

	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// vLLM's models/olmo2.py of v0.10.2, which runs OLMo-3 too, and models/olmo3.py since: OLMo-2's
// own modules in both.

// olmo3Dialect has transformers' defaults (configuration_olmo3.py).
var olmo3Dialect = dialect{
	defaults:    map[string]string{"rms_norm_eps": "1e-5"},
	ropeByLayer: true,
	read: func(c *Config, o *object) {
		requireTheta(c, o, "releases of transformers take 10000 or 500000 in its place")
		if !o.stated("sliding_window") {
			c.SlidingWindow = 4096
		}
		if c.LayerTypes == nil {
			c.LayerTypes = everyNthFull(c.NumHiddenLayers, 4)
		}
		c.UseSlidingWindow = c.SlidingWindow > 0
		if c.UseSlidingWindow && !slices.Contains(c.LayerTypes, "sliding_attention") {
			o.failKey("layer_types", "has no layer with a window beside a sliding_window of %d: vLLM of 2025 gives it to all layers, transformers to none", c.SlidingWindow)
		}
	},
}

// newOlmo3ForCausalLM builds Olmo3ForCausalLM.
func newOlmo3ForCausalLM(b *builder) *CausalLM {
	b.checkAct("silu")
	b.checkBiases(false, false)
	b.checkHeadDim()
	b.checkYarnOfOlmo3()
	m := newOlmo2Model(b)
	return &CausalLM{model: m, logits: b.logitsProcessor(b.headClass(), b.lmHead(m.embedTokens))}
}

// checkYarnOfOlmo3 refuses another factor than the one that vLLM's YaRNScalingRotaryEmbedding
// computes, which passes over the config's.
func (b *builder) checkYarnOfOlmo3() {
	for _, r := range []*Rope{&b.cfg.Rope, b.cfg.SlidingRope} {
		if r == nil || r.Type != "yarn" || r.AttentionFactor == 0 {
			continue
		}
		if own := nn.YarnMScale(r.Factor, 1); math.Abs(r.AttentionFactor-own) > 1e-6*own {
			b.refuse("attention_factor %v of yarn: vLLM computes %v of factor %v, whatever the config says", r.AttentionFactor, own, r.Factor)
		}
	}
}

// layerRope is the rope of a layer. OLMo-3's layers with a window have one of their own:
// the config's where it names one for each type of layer. Of a single one they take no
// scaling in vLLM of 2025 (models/olmo2.py); in that of 2026 (commit 4a6440acef) and in
// transformers 5.12 they take it whole.
func (b *builder) layerRope(layer int) nn.Rope {
	if !b.ropeByLayer || b.cfg.window(layer) == 0 {
		return *b.configRope()
	}
	cfg := *b.cfg
	switch {
	case cfg.SlidingRope != nil:
		cfg.Rope = *cfg.SlidingRope
	case b.options.Era == topology.Era2025 && b.options.DynamicRope != DynamicTransformers:
		cfg.Rope = Rope{Type: "default", Theta: cfg.Rope.Theta, PartialRotaryFactor: 1}
	}
	return ropeOf(&cfg, b.options)
}
