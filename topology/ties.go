package topology

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

// Ties are those of the decoders here, for all layers whose modules have these
// names (vLLM's models/llama.py, qwen2.py, qwen3.py at v0.11.0; transformers'
// modeling_llama.py). Another model may compute something in between, so a tie
// that holds nowhere in a session is none of its model.
func Ties() []Tie { return decoderTies }

var decoderTies = []Tie{
	{A: given(InputNormName, "0"), B: given("", "1"), When: ResidualApart},
	{A: given(InputNormName, "1"), B: given("", "2"), When: ResidualApart},
	{A: given(InputNormName, "0"), B: given("", "0"), When: HiddenAlone},
	{A: given(QKVProjName, "0"), B: returned(InputNormName), When: ResidualApart},
	{A: given("self_attn.q_proj", "0"), B: returned(InputNormName)},
	{A: given("self_attn.k_proj", "0"), B: returned(InputNormName)},
	{A: given("self_attn.v_proj", "0"), B: returned(InputNormName)},
	{A: given(RotaryName, "0"), B: given("", "0"), When: ResidualApart},
	{A: given(RotaryName, "1"), B: returned(QNormName)},
	{A: given(RotaryName, "2"), B: returned(KNormName)},
	{A: given(AttnName, "0"), B: returnedAt(RotaryName, "0")},
	{A: given(AttnName, "1"), B: returnedAt(RotaryName, "1")},
	{A: given(OProjName, "0"), B: returned(AttnName)},
	{A: returned(SelfAttnName), B: returned(OProjName)},
	{A: given(PostAttnNormName, "0"), B: returned(SelfAttnName), When: ResidualApart},
	{A: given(PostAttnNormName, "1"), B: returnedAt(InputNormName, "1"), When: ResidualApart},
	{A: given(PostAttnNormName, "1"), B: given(InputNormName, "0"), When: FirstLayer},
	{A: given(MLPName, "0"), B: returned(PostAttnNormName), When: LlamaModules},
	{A: given(GateUpProjName, "0"), B: given(MLPName, "0")},
	{A: given("mlp.gate_proj", "0"), B: given(MLPName, "0")},
	{A: given("mlp.up_proj", "0"), B: given(MLPName, "0")},
	{A: given(ActFnName, "0"), B: returned(GateUpProjName)},
	{A: given(ActFnName, "0"), B: returned("mlp.gate_proj")},
	{A: given(DownProjName, "0"), B: returned(ActFnName), When: ResidualApart},
	{A: returned(MLPName), B: returned(DownProjName)},
	{A: returnedAt("", "0"), B: returned(MLPName), When: LlamaApart},
	{A: returnedAt("", "1"), B: returnedAt(PostAttnNormName, "1"), When: ResidualApart},

	{Before: true, A: given("", "0"), B: given("", "0"), When: ResidualApart}, // positions
	{Before: true, A: given("", "1"), B: returnedAt("", "0"), When: ResidualApart},
	{Before: true, A: given("", "2"), B: returnedAt("", "1"), When: ResidualApart},
	{Before: true, A: given("", "0"), B: returned(""), When: HiddenAlone},
}

func given(rel, slot string) End      { return End{rel, false, []string{slot}} }
func returned(rel string) End         { return End{rel, true, []string{"0", ""}} }
func returnedAt(rel, slot string) End { return End{rel, true, []string{slot}} }
