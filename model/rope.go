package model

import (
	"fmt"

	"github.com/ilref/ilref/model/nn"
)

// ropeOf translates the config's rope into the engine's.
func ropeOf(cfg *Config) (nn.Rope, error) {
	r := cfg.Rope
	rope := nn.Rope{Theta: r.Theta, Dim: r.RotaryDim(cfg.HeadDim)}
	switch r.Type {
	case "default":
	case "llama3":
		rope.Scaling = nn.Llama3Scaling{
			Factor: r.Factor, LowFreqFactor: r.LowFreqFactor, HighFreqFactor: r.HighFreqFactor,
			OriginalMaxPosition: float64(r.OriginalMaxPositionEmbeddings),
		}
	default:
		return rope, fmt.Errorf("%s: rope type %q is not supported: expected default or llama3", cfg.File, r.Type)
	}
	return rope, nil
}
