package topology

import "slices"

// glm4Moe2025 and glm4Moe2026 are the trees of vLLM's models/glm4_moe.py: Llama's attention,
// with norms over each head where the config has them, and mixtures as DeepSeek's with a
// router in float32.
var (
	glm4Moe2025 = glm4Moe(Era2025, DeepseekMLP, []Child{
		{MLPGateName, FloatGate},
		{MLPExpertsName, FusedMoEPart},
		{SharedMLPName, SharedExpert},
		{SharedMLPGateUpName, MergedColumnParallelLinear},
		{SharedMLPDownName, DownProjPart},
		{SharedMLPActName, SiluAndMul},
	})
	glm4Moe2026 = glm4Moe(Era2026, DeepseekMLP2026, sharedMixture(Era2026, FloatGate, SharedMoERunner))
)

// FloatGate is torch's Linear with weights in float32: it is given a copy of the hidden states
// in float32, and returns a plain tensor of that.
var FloatGate = &Spec{
	Class: "Linear", Kind: Router, Single: true, Rounding: []Point{SumOrder},
	In: []Tensor{hidden}, Out: []Tensor{routerLogits},
}

func glm4Moe(era Era, mlp *Spec, mixture []Child) *Architecture {
	norms := []Child{{QNormName, QHeadNorm}, {KNormName, KHeadNorm}}
	a := &Architecture{
		Names:        []string{"Glm4MoeForCausalLM"},
		Eras:         []Era{era},
		Root:         decoderRoot,
		Layer:        within(decoderLayer(norms...), slices.Concat([]Child{{MLPName, mlp}}, mixture, denseChildren)...),
		Ties:         floatGateTies,
		Transformers: glm4MoeTransformers,
	}
	for _, c := range slices.Concat(norms, mixture, denseChildren) {
		a.Some = append(a.Some, c.Name)
	}
	return a
}

// floatGateTies are the ties of a mixture whose gate is given another type than the rest.
var floatGateTies = slices.DeleteFunc(slices.Clone(sharedMixtureTies), func(t Tie) bool { return t.A.Rel == MLPGateName })
