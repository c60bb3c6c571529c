package nn

import (
	"fmt"
	"strings"

	"github.com/ilref/ilref/topology"
)

// Rounding names the rounding points of an engine's half-precision kernels: a
// profile. It says nothing of float32 and float64, which have none.
type Rounding string

// The profiles. What they differ in is in [profiles]; all round what a module
// returns, sums of two tensors, silu(gate) before it meets up, and a matrix
// product once, with its bias.
const (
	VLLM2025          Rounding = "vllm-2025"
	VLLM2026          Rounding = "vllm-2026"
	Transformers      Rounding = "transformers"
	TransformersEager Rounding = "transformers-eager"
)

// profile is a set of rounding points.
type profile struct {
	name   Rounding
	engine string // whose kernels they are
	era    topology.Era
	what   string // in a few words
	set    func(o *ops[float32])
}

// profiles are all that there are, the default first.
//
// vLLM: the kernels of RMSNorm and rope (csrc/layernorm_kernels.cu,
// csrc/pos_encoding_kernels.cu) changed with the commits 4d51588e23 and 225936a1dd.
//
// transformers 5.12 on torch (models/llama/modeling_llama.py and its kin): each
// operation of torch rounds what it returns. RMSNorm multiplies by the weight
// what it has rounded; Olmo2RMSNorm multiplies in float32. apply_rotary_pos_emb
// takes cosines and sines in the model's dtype; those of Olmo2RotaryEmbedding
// are float32, and so is what is made of them. Attention is that of torch's
// scaled_dot_product_attention, transformers' default, or of
// eager_attention_forward.
var profiles = []profile{
	{VLLM2025, "vllm", topology.Era2025, "vLLM up to v0.19: RMSNorm rounds before the weight, rope each product", func(o *ops[float32]) {
		o.points = points[float32]{normed: o.round, products: o.round, table: o.round, sum: o.round}
		o.floatPoints = o.points
		o.routers = routerPoints{shareByReciprocal, renormaliseInTorch}
		o.mix.sum = sumHalf[float32]
		o.latent.chunked = attendApart[float32]
	}},
	{VLLM2026, "vllm", topology.Era2026, "vLLM since June 2026: RMSNorm and rope round once", func(o *ops[float32]) {
		o.points = points[float32]{normed: exact[float32], products: exact[float32], table: o.round, sum: exact[float32], inTorch: o.round}
		o.floatPoints = o.points
		o.routers = routerPoints{shareByReciprocal, renormaliseInKernel}
		o.latent.chunked = attendApart[float32]
		o.mix.taken, o.mix.made = takenWeighed[float32], madeAsItIs[float32]
	}},
	{Transformers, "transformers", topology.Era2025, "transformers 5 on torch, with its default attention (sdpa)", func(o *ops[float32]) {
		o.points = points[float32]{normed: o.round, products: o.round, table: o.round, sum: o.round}
		o.attention = newSDPA[float32]
		o.mix = mixOfTransformers
		o.latent = latentInSDPA
		o.quotient = byDivision[float32]
	}},
	{TransformersEager, "transformers", topology.Era2025, "transformers 5 on torch with eager attention", func(o *ops[float32]) {
		o.points = points[float32]{normed: o.round, products: o.round, table: o.round, sum: o.round}
		o.attention = newEager[float32]
		o.mix = mixOfTransformers
		o.latent = latentInTransformers
		o.quotient = byDivision[float32]
	}},
}

// points are the places where the profiles' kernels round, or do not.
type points[F real] struct {
	normed   func([]F) // RMSNorm's value, before it meets the weight
	products func([]F) // a rope's products, before they are added
	table    func([]F) // a rope's cosines and sines
	sum      func([]F) // what a Gemma's norm is to normalise: the sum with the residual
	inTorch  func([]F) // products of a rope that is computed in torch's operations; nil: as products
}

// pointsOf are the points of a module: float says that transformers' class of it
// stays in float32 up to its result.
func (o *ops[F]) pointsOf(float bool) points[F] {
	if float {
		return o.floatPoints
	}
	return o.points
}

// Roundings lists the profiles, the default first.
func Roundings() []Rounding {
	var list []Rounding
	for _, p := range profiles {
		list = append(list, p.name)
	}
	return list
}

// What says in a few words whose kernels a profile has, "" for one that is not known.
func (r Rounding) What() string {
	p, err := profileOf(r)
	if err != nil {
		return ""
	}
	return p.what
}

// Engine is the name of the engine that rounds so, "" for a profile that is not
// known.
func (r Rounding) Engine() string {
	p, err := profileOf(r)
	if err != nil {
		return ""
	}
	return p.engine
}

// Era is the era of vLLM whose trees of modules go with a profile.
func (r Rounding) Era() topology.Era {
	p, err := profileOf(r)
	if err != nil {
		return topology.Era2025
	}
	return p.era
}

// RoundingOf is the profile of the engine that ran a model, "vllm" or
// "transformers", with its attention, where that is known: transformers'
// _attn_implementation; and with the era that its modules' names show.
// The first profile stands for engines that have none.
// FlashAttention and flex_attention round where sdpa does.
func RoundingOf(engine, attention string, era topology.Era) Rounding {
	switch {
	case engine == "vllm" && era == topology.Era2026:
		return VLLM2026
	case engine == "transformers" && attention == "eager":
		return TransformersEager
	case engine == "transformers":
		return Transformers
	}
	return profiles[0].name
}

func profileOf(name Rounding) (profile, error) {
	var known []string
	for _, p := range profiles {
		if p.name == name {
			return p, nil
		}
		known = append(known, string(p.name))
	}
	last := len(known) - 1
	return profile{}, fmt.Errorf("unknown rounding profile %q: expected %s or %s", name, strings.Join(known[:last], ", "), known[last])
}
