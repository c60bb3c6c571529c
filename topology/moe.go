package topology

// Names of the modules of a mixture of experts, within a layer: Mixtral's and Granite's,
// and Qwen's.
const (
	SparseMoeName     = "block_sparse_moe"
	SparseGateName    = "block_sparse_moe.gate"
	SparseExpertsName = "block_sparse_moe.experts"
	MLPGateName       = "mlp.gate"
	MLPExpertsName    = "mlp.experts"

	SharedExpertName     = "mlp.shared_expert"
	SharedExpertGateName = "mlp.shared_expert_gate"
	SharedGateUpName     = "mlp.shared_expert.gate_up_proj"
	SharedDownName       = "mlp.shared_expert.down_proj"
	SharedActName        = "mlp.shared_expert.act_fn"
	SharedExpertsName    = "mlp.experts._shared_experts" // vLLM's wrapper of 2026

	SharedMLPName       = "mlp.shared_experts" // DeepSeek's and GLM's
	SharedMLPGateUpName = "mlp.shared_experts.gate_up_proj"
	SharedMLPDownName   = "mlp.shared_experts.down_proj"
	SharedMLPActName    = "mlp.shared_experts.act_fn"
)

// Classes of mixtures of experts (vLLM's layers/fused_moe).
var (
	// GateLinear is the router: a linear that every rank has whole.
	GateLinear = &Spec{
		Class: "ReplicatedLinear", Kind: Router, Rounding: sums,
		In:  []Tensor{hidden},
		Out: []Tensor{routerLogits},
	}
	// FusedMoE writes what it returns over what it is given (v0.10.2, fused_moe/layer.py,
	// inplace=True).
	FusedMoE = &Spec{
		Class: "FusedMoE", Kind: Experts, Single: true, Reduces: true, Rounding: mixing,
		In:  []Tensor{written(hidden), routerLogits},
		Out: []Tensor{hidden},
	}
	// FusedMoEKeyword is FusedMoE, called with keywords.
	FusedMoEKeyword = keyword(FusedMoE)
	// MoERunner is what FusedMoE became in 2026: it returns a tensor of its own
	// (fused_moe/runner/moe_runner.py).
	MoERunner = &Spec{
		Class: "MoERunner", Kind: Experts, Single: true, Reduces: true, Rounding: mixing,
		In:  []Tensor{hidden, routerLogits},
		Out: []Tensor{hidden},
	}
	// MoERunnerKeyword is MoERunner, called with keywords.
	MoERunnerKeyword = keyword(MoERunner)
	// SparseMoeBlock holds the router and the experts. What it is given, its experts of
	// 2025 write over.
	SparseMoeBlock = &Spec{
		Class: "MixtralMoE", Kind: MoE, Single: true, Reduces: true,
		In: []Tensor{written(hidden)}, Out: []Tensor{hidden},
	}
	// SparseMoeBlock2026 leaves it as it is.
	SparseMoeBlock2026 = &Spec{
		Class: "MixtralMoE", Kind: MoE, Single: true, Reduces: true,
		In: []Tensor{hidden}, Out: []Tensor{hidden},
	}
)

// Classes of mixtures whose block adds up the ranks' parts, so that those of its modules
// are seen (v0.10.2, models/qwen2_moe.py), and of shared experts.
var (
	FusedMoEPart = partial(FusedMoEKeyword)
	DownProjPart = partial(DownProj)
	SharedExpert = partial(DenseMLP)
	// SharedExpertGate is torch's Linear, which returns a plain tensor.
	SharedExpertGate = &Spec{
		Class: "Linear", Kind: ReplicatedLinear, Single: true, Rounding: sums,
		In: []Tensor{hidden}, Out: []Tensor{sharedGate},
	}
	// SharedExpertGate2026 is a ReplicatedLinear.
	SharedExpertGate2026 = &Spec{
		Class: "ReplicatedLinear", Kind: ReplicatedLinear, Rounding: sums,
		In: []Tensor{hidden}, Out: []Tensor{sharedGate},
	}
	// SharedMoERunner is given no more than MoERunner: what its shared experts return it
	// adds to the sum (in the place of a third argument, which no hook sees).
	SharedMoERunner = &Spec{
		Class: "MoERunner", Kind: Experts, Keyword: true, Single: true, Reduces: true, Rounding: mixing,
		In:  []Tensor{hidden, routerLogits, {Name: "shared_output", Shape: []Dim{T, H}, Sharding: PartialSum}},
		Out: []Tensor{hidden},
	}
	// SharedFusedMoE calls the shared experts too, and returns what they and its own return
	// (v0.10.2, fused_moe/shared_fused_moe.py). A replay gives it the former.
	SharedFusedMoE = &Spec{
		Class: "SharedFusedMoE", Kind: Experts, Keyword: true, Rounding: mixing,
		In: []Tensor{written(hidden), routerLogits, {Name: "shared_output", Shape: []Dim{T, H}, Sharding: PartialSum}},
		Out: []Tensor{
			{Name: "shared_output", Shape: []Dim{T, H}, Sharding: PartialSum},
			{Name: "hidden_states", Shape: []Dim{T, H}, Sharding: PartialSum},
		},
	}
	// SharedExperts calls the shared experts in one of its two calls, and returns nothing
	// (fused_moe/runner/shared_experts.py).
	SharedExperts = &Spec{
		Class: "SharedExperts", Kind: MLP,
		In: []Tensor{hidden, {Name: "order"}},
	}
)

// partial is the same class, of which every rank returns its part of the sum.
func partial(s *Spec) *Spec {
	p := *s
	p.Reduces, p.Out = false, nil
	for _, t := range s.Out {
		t.Sharding = PartialSum
		p.Out = append(p.Out, t)
	}
	return &p
}

// Tensors and rounding points that mixtures share.
var (
	routerLogits = Tensor{Name: "router_logits", Shape: []Dim{T, E}, Sharding: Replicated}
	sharedGate   = Tensor{Name: "gate", Shape: []Dim{T, One}, Sharding: Replicated}
	mixing       = []Point{SumOrder, SplitSums, Activated, Result}
)

// keyword is the same class, called with keyword arguments.
func keyword(s *Spec) *Spec {
	k := *s
	k.Keyword = true
	return &k
}

// within is a layer's list with the modules of a mixture in the place of its MLP.
func within(layer []Child, mixture ...Child) []Child {
	var l []Child
	for _, c := range layer {
		switch c.Name {
		case MLPName:
			l = append(l, mixture...)
		case GateUpProjName, DownProjName, ActFnName:
		default:
			l = append(l, c)
		}
	}
	return l
}
