package topology

// Names of the modules of a mixture of experts, within a layer: Mixtral's and Granite's,
// and Qwen's.
const (
	SparseMoeName     = "block_sparse_moe"
	SparseGateName    = "block_sparse_moe.gate"
	SparseExpertsName = "block_sparse_moe.experts"
	MLPGateName       = "mlp.gate"
	MLPExpertsName    = "mlp.experts"
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
		Class: "FusedMoE", Kind: Experts, Single: true, Reduces: true, Rounding: mixed,
		In:  []Tensor{written(hidden), routerLogits},
		Out: []Tensor{hidden},
	}
	// FusedMoEKeyword is FusedMoE, called with keywords.
	FusedMoEKeyword = keyword(FusedMoE)
	// MoERunner is what FusedMoE became in 2026: it returns a tensor of its own
	// (fused_moe/runner/moe_runner.py).
	MoERunner = &Spec{
		Class: "MoERunner", Kind: Experts, Single: true, Reduces: true, Rounding: mixed,
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

// Tensors and rounding points that mixtures share.
var (
	routerLogits = Tensor{Name: "router_logits", Shape: []Dim{T, E}, Sharding: Replicated}
	mixed        = []Point{SumOrder, SplitSums, Activated, Result}
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
