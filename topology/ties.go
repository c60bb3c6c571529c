package topology

import (
	"slices"
	"strings"
)

// Tie is two tensors that are equal to the bit by the way of data: what one
// module returned is what another is given. B is where the value was made, and
// A where it is seen again.
type Tie struct {
	A, B   End
	Before bool // B is of the layer before A's
	When   Form
}

// End is one side of a tie: a slot of a module within its layer.
type End struct {
	Rel    string
	Output bool
	Slots  []string // the first that is recorded counts
}

// Form says for which layers a tie holds, by what a session shows of them.
type Form uint8

// Forms of a layer.
const (
	AnyForm       Form = iota
	ResidualApart      // vLLM: the residual goes beside the hidden states, the norms add them
	LlamaModules       // it has the modules of a Llama's layer, not Gemma's further norms
	LlamaApart         // both
	HiddenAlone        // transformers: it takes and returns hidden states alone
	FirstLayer         // ResidualApart, and no residual comes in yet
)

// AllTies are those of the decoders here, for all layers whose modules have these
// names (vLLM's models/llama.py, qwen2.py, qwen3.py at v0.11.0; transformers'
// modeling_llama.py). Another model may compute something in between, so a tie
// that holds nowhere in a session is none of its model.
// An architecture adds its own, which stand in the place of those of the same end, and leaves
// out those of its Untied, or has only its own; nil has none.
func (a *Architecture) AllTies() []Tie {
	if a == nil {
		return decoderTies
	}
	if a.OwnTies {
		return a.Ties
	}
	own := slices.Clone(a.Untied)
	for _, t := range a.Ties {
		own = append(own, t.A)
	}
	shared := slices.DeleteFunc(slices.Clone(decoderTies), func(t Tie) bool { return slices.ContainsFunc(own, t.A.same) })
	return append(shared, a.Ties...)
}

// same reports whether two ends are one slot.
func (e End) same(x End) bool {
	return e.Rel == x.Rel && e.Output == x.Output && e.Slots[0] == x.Slots[0]
}

// LlamaChild reports whether a module within a layer is, or lies in, one that a
// Llama's layer has, or the mixture in place of its mlp.
func LlamaChild(rel string) bool {
	first, _, _ := strings.Cut(rel, ".")
	switch first {
	case InputNormName, PostAttnNormName, SelfAttnName, MLPName, FeedForwardName, GptOssBlockName, "block_sparse_moe":
		return true
	}
	return false
}

var decoderTies = []Tie{
	{A: Given(InputNormName, "0"), B: Given("", "1"), When: ResidualApart},
	{A: Given(InputNormName, "1"), B: Given("", "2"), When: ResidualApart},
	{A: Given(InputNormName, "0"), B: Given("", "0"), When: HiddenAlone},
	{A: Given(QKVProjName, "0"), B: Returned(InputNormName), When: ResidualApart},
	{A: Given("self_attn.q_proj", "0"), B: Returned(InputNormName)},
	{A: Given("self_attn.k_proj", "0"), B: Returned(InputNormName)},
	{A: Given("self_attn.v_proj", "0"), B: Returned(InputNormName)},
	{A: Given(RotaryName, "0"), B: Given("", "0"), When: ResidualApart},
	{A: Given(RotaryName, "1"), B: Returned(QNormName)},
	{A: Given(RotaryName, "2"), B: Returned(KNormName)},
	{A: Given(AttnName, "0"), B: ReturnedAt(RotaryName, "0")},
	{A: Given(AttnName, "1"), B: ReturnedAt(RotaryName, "1")},
	{A: Given(OProjName, "0"), B: Returned(AttnName)},
	{A: Returned(SelfAttnName), B: Returned(OProjName)},
	{A: Given(PostAttnNormName, "0"), B: Returned(SelfAttnName), When: ResidualApart},
	{A: Given(PostAttnNormName, "1"), B: ReturnedAt(InputNormName, "1"), When: ResidualApart},
	{A: Given(PostAttnNormName, "1"), B: Given(InputNormName, "0"), When: FirstLayer},
	{A: Given(MLPName, "0"), B: Returned(PostAttnNormName), When: LlamaModules},
	{A: Given(GateUpProjName, "0"), B: Given(MLPName, "0")},
	{A: Given("mlp.gate_proj", "0"), B: Given(MLPName, "0")},
	{A: Given("mlp.up_proj", "0"), B: Given(MLPName, "0")},
	{A: Given(ActFnName, "0"), B: Returned(GateUpProjName)},
	{A: Given(ActFnName, "0"), B: Returned("mlp.gate_proj")},
	{A: Given(DownProjName, "0"), B: Returned(ActFnName), When: ResidualApart},
	{A: Returned(MLPName), B: Returned(DownProjName)},
	{A: ReturnedAt("", "0"), B: Returned(MLPName), When: LlamaApart},
	{A: ReturnedAt("", "1"), B: ReturnedAt(PostAttnNormName, "1"), When: ResidualApart},

	{Before: true, A: Given("", "0"), B: Given("", "0"), When: ResidualApart}, // positions
	{Before: true, A: Given("", "1"), B: ReturnedAt("", "0"), When: ResidualApart},
	{Before: true, A: Given("", "2"), B: ReturnedAt("", "1"), When: ResidualApart},
	{Before: true, A: Given("", "0"), B: Returned(""), When: HiddenAlone},
}

// Given is an argument of a module of a layer.
func Given(rel, slot string) End { return End{rel, false, []string{slot}} }

// Returned is the first result.
func Returned(rel string) End { return End{rel, true, []string{"0", ""}} }

// ReturnedAt is a result.
func ReturnedAt(rel, slot string) End { return End{rel, true, []string{slot}} }
