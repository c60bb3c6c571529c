package topology

import "slices"

// vLLM's transformers backend (models/transformers.py, since 2026 models/transformers/): a
// model of transformers whose linears, norms and embedding are vLLM's. Every tensor has a
// batch dimension of 1 before that of the tokens, linears return a tensor without None, and
// attention is run by its forward: there is no attn module. Since 2026 fusers put q, k and v,
// and gate and up, into one linear each; a linear that was put in comes last.

// RotaryEmbName is transformers' rotary embedding, called once a forward for all layers.
const RotaryEmbName = "model.rotary_emb"

// smolLM32025 is SmolLM-3's, whose root is decorated, and whose model is not.
var smolLM32025 = &Architecture{
	Names: []string{"SmolLM3ForCausalLM"},
	Eras:  []Era{Era2025},
	Root:  append([]Child{{"model", BackendModel}}, backendRoot(BackendRope)...),
	Layer: []Child{
		{"", BackendLayer},
		{SelfAttnName, BackendAttention},
		{"self_attn.q_proj", backendQ},
		{"self_attn.k_proj", backendKV},
		{"self_attn.v_proj", backendKV},
		{OProjName, BackendOProj},
		{MLPName, BackendMLP},
		{"mlp.gate_proj", backendGateOrUp},
		{"mlp.up_proj", backendGateOrUp},
		{DownProjName, BackendDownProj},
		{ActFnName, BackendSiLU},
		{InputNormName, BackendNorm},
		{PostAttnNormName, BackendNorm},
	},
	Batch: true,
	Ties:  backendTies,
	Transformers: func(layers int) *Table {
		t := backendTable(layers, unfusedLinears, InputNormName, PostAttnNormName)
		t.Mappings = append([]Mapping{{"model", 0, true, "0", []Source{result(FinalNormName)}}}, t.Mappings...)
		return t
	},
}

// smolLM32026 is the same, fused.
var smolLM32026 = &Architecture{
	Names: []string{"SmolLM3ForCausalLM"},
	Eras:  []Era{Era2026},
	Root:  backendRoot(BackendRope),
	Layer: []Child{
		{"", BackendLayer},
		{SelfAttnName, BackendAttention},
		{OProjName, BackendOProj},
		{QKVProjName, BackendQKV},
		{MLPName, BackendMLP},
		{DownProjName, BackendDownProj},
		{ActFnName, BackendSiluAndMul},
		{GateUpProjName, BackendGateUp},
		{InputNormName, BackendNorm},
		{PostAttnNormName, BackendNorm},
	},
	Batch: true,
	Ties:  backendTies,
	Transformers: func(layers int) *Table {
		return backendTable(layers, fusedLinears, InputNormName, PostAttnNormName)
	},
}

// olmo22026 is OLMo-2's since commit b83be00cdd (2026-07-09): its rotary embedding is given the
// positions by keyword and returns float32.
var olmo22026 = &Architecture{
	Names: []string{"Olmo2ForCausalLM"},
	Eras:  []Era{Era2026},
	Root:  backendRoot(BackendFloatRope),
	Layer: []Child{
		{"", BackendLayer},
		{SelfAttnName, BackendAttention},
		{OProjName, BackendOProj},
		{QNormName, backendFullNorm("q", Q)},
		{KNormName, backendFullNorm("k", K)},
		{QKVProjName, BackendQKV},
		{MLPName, BackendMLP},
		{DownProjName, BackendDownProj},
		{ActFnName, BackendSiluAndMul},
		{GateUpProjName, BackendGateUp},
		{PostAttnNormName, BackendNorm},
		{PostFeedForwardNormName, BackendNorm},
	},
	Batch: true,
	Ties: []Tie{
		{A: Given(QKVProjName, "0"), B: Given("", "0")},
		{A: Given(PostAttnNormName, "0"), B: Returned(SelfAttnName)},
		{A: Given(DownProjName, "0"), B: Returned(ActFnName)},
		{A: Given(PostFeedForwardNormName, "0"), B: Returned(MLPName)},
		{Before: true, A: Given("", "0"), B: Returned("")},
	},
	Transformers: func(layers int) *Table {
		return backendTable(layers, fusedLinears, QNormName, KNormName, PostAttnNormName, PostFeedForwardNormName)
	},
}

var backendTies = []Tie{
	{A: Given(InputNormName, "0"), B: Given("", "0")},
	{A: Given(QKVProjName, "0"), B: Returned(InputNormName)},
	{A: Given(MLPName, "0"), B: Returned(PostAttnNormName)},
	{Before: true, A: Given("", "0"), B: Returned("")},
}

func backendRoot(rope *Spec) []Child {
	return []Child{
		{EmbedTokensName, BackendEmbedding},
		{FinalNormName, BackendNorm},
		{RotaryEmbName, rope},
		{LMHeadName, ParallelLMHead},
		{LogitsProcessorName, LogitsProcessor},
	}
}

// Classes of the backend: those of vLLM with a batch dimension.
var (
	BackendEmbedding  = batched(VocabParallelEmbedding)
	BackendQKV        = bare(QKVParallelLinear)
	BackendGateUp     = bare(MergedColumnParallelLinear)
	BackendOProj      = bare(OProj)
	BackendDownProj   = bare(DownProj)
	backendQ          = bare(qProj)
	backendKV         = bare(kvProj)
	backendGateOrUp   = bare(gateOrUp)
	BackendNorm       = batched(PlainRMSNorm)
	BackendMLP        = batched(DenseMLP)
	BackendSiluAndMul = sharedSpec(batched(SiluAndMul)) // one object for all layers
	// BackendSiLU is torch's, of the gate alone.
	BackendSiLU = batched(&Spec{
		Class: "SiLU", Kind: Activation, Single: true, Rounding: []Point{Result},
		In:  []Tensor{{Name: "gate", Shape: []Dim{T, I}, Sharding: Column}},
		Out: []Tensor{{Name: "x", Shape: []Dim{T, I}, Sharding: Column}},
	})
	// BackendRope returns the cosines and sines of the positions.
	BackendRope = batched(&Spec{
		Class: "RotaryEmbedding", Kind: Rope, Rounding: []Point{CosSin},
		In: []Tensor{hidden, positions}, Out: []Tensor{cosines, sines},
	})
	// BackendFloatRope is one that is given the positions by keyword.
	BackendFloatRope = keywords(BackendRope)
	// BackendLayer and BackendAttention are given cosines and sines by keyword.
	BackendLayer = keywords(batched(&Spec{
		Class: "DecoderLayer", Kind: Layer, Single: true, State: KeysAndValues,
		In: []Tensor{hidden, cosines, sines}, Out: []Tensor{hidden},
	}))
	BackendAttention = batched(&Spec{
		Class: "Attention", Kind: AttentionBlock, Keyword: true, Reduces: true, State: KeysAndValues,
		In: []Tensor{hidden, cosines, sines}, Out: []Tensor{hidden},
	})
	BackendModel = batched(&Spec{
		Class: "Model", Kind: Model, Keyword: true, State: KeysAndValues,
		In:  []Tensor{{Name: "input_ids", Shape: []Dim{T}, Sharding: Replicated}, positions},
		Out: []Tensor{hidden},
	})

	cosines = Tensor{Name: "cos", Shape: []Dim{T, HeadDim}, Sharding: Replicated}
	sines   = Tensor{Name: "sin", Shape: []Dim{T, HeadDim}, Sharding: Replicated}
)

// BackendQNorm and BackendKNorm are OLMo-2's.
var (
	BackendQNorm = olmo22026.spec(Place{layersPrefix, 0, QNormName})
	BackendKNorm = olmo22026.spec(Place{layersPrefix, 0, KNormName})
)

// BackendColumn are q_proj, k_proj and v_proj, gate_proj and up_proj where nothing is fused.
func BackendColumn(name string) *Spec {
	switch name {
	case "q_proj":
		return backendQ
	case "gate_proj", "up_proj":
		return backendGateOrUp
	}
	return backendKV
}

func batched(of *Spec) *Spec {
	s := *of
	s.In, s.Out = withBatch(of.In), withBatch(of.Out)
	return &s
}

func withBatch(list []Tensor) []Tensor {
	var out []Tensor
	for _, t := range list {
		t.Shape = append([]Dim{One}, t.Shape...)
		out = append(out, t)
	}
	return out
}

// bare is a linear that returns a tensor without None (return_bias False).
func bare(of *Spec) *Spec {
	s := batched(of)
	s.Single = true
	return s
}

func sharedSpec(s *Spec) *Spec {
	s.Shared = true
	return s
}

// keywords are the arguments behind the first.
func keywords(of *Spec) *Spec {
	s := *of
	s.Positional = 1
	return &s
}

func backendFullNorm(name string, width Dim) *Spec { return batched(fullNorm(name, width)) }

// linears are those of a layer in the backend, and what they are in transformers.
type linears func(i int) []Mapping

func unfusedLinears(i int) []Mapping {
	var out []Mapping
	for _, rel := range []string{"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", OProjName, "mlp.gate_proj", ActFnName, "mlp.up_proj", DownProjName} {
		out = append(out, unchanged(InLayer(i, rel))...)
	}
	return out
}

func fusedLinears(i int) []Mapping {
	of := func(rel string) Source { return result(InLayer(i, rel)) }
	in := func(rel string) Source { return argument(InLayer(i, rel)) }
	qkv, gateUp, act := InLayer(i, QKVProjName), InLayer(i, GateUpProjName), InLayer(0, ActFnName)
	made := []Source{of("mlp.gate_proj"), of("mlp.up_proj")}
	return append(
		[]Mapping{
			{qkv, 0, false, "0", []Source{in("self_attn.q_proj")}},
			{qkv, 0, true, "", []Source{of("self_attn.q_proj"), of("self_attn.k_proj"), of("self_attn.v_proj")}},
			{gateUp, 0, false, "0", []Source{in("mlp.gate_proj")}},
			{gateUp, 0, true, "", made},
			{act, i, false, "0", made},
			{act, i, true, "", []Source{in(DownProjName)}},
		},
		slices.Concat(unchanged(InLayer(i, OProjName)), unchanged(InLayer(i, DownProjName)))...,
	)
}

// unchanged is a module of one tensor that transformers has too.
func unchanged(name string) []Mapping {
	return []Mapping{
		{name, 0, false, "0", []Source{argument(name)}},
		{name, 0, true, "", []Source{result(name)}},
	}
}

// backendTable is the table of a model of the backend: its modules are transformers' own.
func backendTable(layers int, of linears, norms ...string) *Table {
	out := slices.Concat(
		unchanged(EmbedTokensName),
		[]Mapping{
			{RotaryEmbName, 0, false, "0", []Source{argument(RotaryEmbName)}},
			{RotaryEmbName, 0, false, "1", []Source{PositionsSource}},
			{RotaryEmbName, 0, true, "0", []Source{result(RotaryEmbName)}},
			{RotaryEmbName, 0, true, "1", []Source{{Module: RotaryEmbName, Output: true, Arg: "1"}}},
		},
	)
	for i := range layers {
		self := InLayer(i, SelfAttnName)
		out = append(append(append(out, unchanged(InLayer(i, ""))...), Mapping{self, 0, true, "0", []Source{result(self)}}), unchanged(InLayer(i, MLPName))...)
		for _, norm := range norms {
			out = append(out, unchanged(InLayer(i, norm))...)
		}
		out = append(out, of(i)...)
	}
	return &Table{layers: layers, handedOn: backendSame, Mappings: append(out, unchanged(FinalNormName)...)}
}

// backendSame: the projections are given one tensor.
func backendSame(s Source, _ int) []Source {
	i := Locate(s.Module).Layer
	if s == argument(InLayer(i, "self_attn.q_proj")) {
		return []Source{s, argument(InLayer(i, "self_attn.k_proj")), argument(InLayer(i, "self_attn.v_proj"))}
	}
	return []Source{s}
}
