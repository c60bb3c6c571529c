package nn

import "github.com/ilref/ilref/internal/kernel"

// softcap is c*tanh(x/c) in torch's operations, each of which r rounds (transformers
// modeling_gemma2.py eager_attention_forward).
func softcap[F real](x []F, c F, r func([]F)) {
	for i := range x {
		x[i] /= c
	}
	r(x)
	tanh(x)
	r(x)
	kernel.Scale(x, c)
	r(x)
}

// tanh is that of each value.
func tanh[F real](x []F) {
	for i, v := range x {
		x[i] = F(tanhOf(float64(v)))
	}
}

// tanhOf is the same on every CPU.
func tanhOf(x float64) float64 {
	switch e := kernel.Exp(-2 * abs(x)); {
	case x < 0:
		return -(1 - e) / (1 + e)
	default:
		return (1 - e) / (1 + e)
	}
}

func abs(x float64) float64 {
	if x < 0 {
		return -x
	}
	return x
}
