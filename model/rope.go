package model

import (
	"github.com/ilref/ilref/model/nn"
)

// ropeOf translates the config's rope into the engine's, for requests of at
// most o.MaxModelLen positions, which decide longrope's table in vLLM.
func ropeOf(cfg *Config, o Options) nn.Rope {
	r := cfg.Rope
	rope := nn.Rope{Theta: r.Theta, Dim: r.RotaryDim(cfg.HeadDim)}
	maxPosition := float64(cfg.MaxPositionEmbeddings)
	original := float64(r.OriginalMaxPositionEmbeddings)
	if original == 0 {
		original = maxPosition
	}
	switch r.Type {
	case "linear":
		rope.PositionFactor = r.Factor
	case "dynamic":
		if o.DynamicRope == DynamicTransformers {
			rope.Scaling = nn.DynamicScaling{Factor: r.Factor, MaxPosition: maxPosition}
		} else {
			rope.Theta = nn.DynamicTheta(r.Theta, r.Factor, original*r.Factor, original, rope.Dim)
		}
	case "llama3":
		rope.Scaling = nn.Llama3Scaling{
			Factor: r.Factor, LowFreqFactor: r.LowFreqFactor, HighFreqFactor: r.HighFreqFactor, OriginalMaxPosition: original,
		}
	case "yarn":
		rope.Scaling = nn.YarnScaling{
			Factor: r.Factor, OriginalMaxPosition: original, BetaFast: r.BetaFast, BetaSlow: r.BetaSlow,
			ExtrapolationFactor: r.ExtrapolationFactor, Truncate: r.Truncate,
		}
		rope.MScale = yarnMScale(r)
	case "longrope":
		factors, mscale := r.ShortFactor, r.ShortMScale
		if float64(o.MaxModelLen) > original {
			factors, mscale = r.LongFactor, r.LongMScale
		}
		rope.Scaling = &nn.LongRopeScaling{Factors: factors}
		if o.DynamicRope == DynamicTransformers {
			rope.Scaling = nn.LongRopeByLength{
				Short: &nn.LongRopeScaling{Factors: r.ShortFactor}, Long: &nn.LongRopeScaling{Factors: r.LongFactor}, Original: int(original),
			}
		}
		rope.OutOfPlace, rope.InTorch = true, true // vLLM's Phi3LongRoPEScaledRotaryEmbedding has no kernel, in any era
		switch {
		case mscale != 0:
			rope.MScale = mscale
		case r.AttentionFactor != 0:
			rope.MScale = r.AttentionFactor
		default:
			rope.MScale = nn.LongRopeMScale(maxPosition/original, original)
		}
	}
	return rope
}

// yarnMScale is the factor on cosines and sines: given, inferred from mscale
// and mscale_all_dim, or recommended by the paper.
func yarnMScale(r Rope) float64 {
	switch {
	case r.AttentionFactor != 0:
		return r.AttentionFactor
	case r.MScale != 0 && r.MScaleAllDim != 0:
		return nn.YarnMScale(r.Factor, r.MScale) / nn.YarnMScale(r.Factor, r.MScaleAllDim)
	}
	return nn.YarnMScale(r.Factor, 1) * r.AttnFactor
}
