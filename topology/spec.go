package topology

import "strconv"

// Spec is a class of modules as hooks see it.
type Spec struct {
	Class   string   // vLLM's (or, of modules that it lacks, transformers') name of the class
	Kind    Kind     //
	In, Out []Tensor // positional arguments, and what is returned
	Keyword bool     // it is called with keyword arguments: hooks see no inputs, though it has In
	// Positional is how many arguments are given by position, where hooks see them, those behind
	// them by keyword; 0 for all.
	Positional int
	Single     bool     // it returns one tensor, which is logged as outputs, without a number
	State      State    // what it keeps from call to call
	Rounding   []Point  // where a kernel that is right may round or order sums otherwise
	Reduces    bool     // its result is a sum over tensor-parallel ranks
	Calls      []string // modules of its layer that it calls although they are registered elsewhere
	Shared     bool     // one object is called several times in a step, so its calls are numbered
}

// Tensor is an argument or a result of a module.
type Tensor struct {
	Name     string   // vLLM's: "hidden_states"
	Shape    []Dim    //
	Sharding Sharding // how tensor-parallel ranks hold it
	Optional bool     // some calls have none: the first layer's residual
	Written  bool     // the call overwrites it
}

// Dim is a dimension, in the symbols of vLLM's papers and this project.
type Dim string

// Dimensions of tensors.
const (
	T       Dim = "T"    // tokens of the step
	N       Dim = "N"    // rows that logits are computed of
	H       Dim = "H"    // hidden size
	I       Dim = "I"    // intermediate size
	GateUp  Dim = "2I"   // gate and up, one after another
	Heads   Dim = "nh"   // query heads
	THeads  Dim = "T*nh" // heads of all tokens, or key and value heads
	KVHeads Dim = "nkv"  // key and value heads
	HeadDim Dim = "D"    //
	Q       Dim = "Q"    // nh*D
	K       Dim = "K"    // nkv*D
	QKV     Dim = "Q+2K" // queries, keys and values, one after another
	E       Dim = "E"    // experts
	V       Dim = "V"    // vocabulary
	One     Dim = "1"    //
)

// Kind is what a module computes.
type Kind uint8

// Kinds of modules. Those from Layer on hold others.
const (
	Unknown          Kind = iota
	Embedding             // rows of a table, by token id
	Linear                // y = xWᵀ + b, its spread over ranks not known
	ColumnLinear          // each rank has rows of W, so columns of y
	QKVLinear             // by column: queries, keys and values in one
	MergedLinear          // by column: gate and up in one
	RowLinear             // each rank has columns of W; y is the sum over ranks
	ReplicatedLinear      // each rank has all
	LatentLinear          // into or out of the latent vectors of latent attention
	Norm                  // over the hidden states; with a residual, of the sum
	QKNorm                // of queries or keys, before the rope
	Rope                  // rotary embedding of queries and keys
	Attention             // over stored keys and values
	Activation            // between up and down
	Router                // scores of experts
	Experts               // the chosen experts and their sum
	Head                  // the logits' weight: in vLLM not called, in transformers a linear
	Logits                // hidden states to logits
	Layer                 // a decoder layer
	AttentionBlock        // projections, rope and attention of a layer
	MLP                   // the dense feed-forward part of a layer
	MoE                   // router and experts of a layer
	Model                 // embedding, layers and final norm
)

// IsLinear reports whether the module is a matrix product.
func (k Kind) IsLinear() bool { return k >= Linear && k <= LatentLinear }

// IsNorm reports whether the module normalises.
func (k Kind) IsNorm() bool { return k == Norm || k == QKNorm }

// IsBlock reports whether the module is a chain of others within a layer, or
// a layer.
func (k Kind) IsBlock() bool { return k >= Layer && k <= MoE }

// IsHead reports whether the module makes logits.
func (k Kind) IsHead() bool { return k == Head || k == Logits }

// Attends reports whether a module's result depends on keys and values of
// earlier steps.
func (k Kind) Attends() bool { return k == Attention || k == AttentionBlock || k == Layer }

// RoundsOnce reports whether a module computes in float32 and rounds what it
// returns, so that equal inputs give equal bits in any order of summation.
func (k Kind) RoundsOnce() bool { return k.IsNorm() || k == Activation }

// Sharding is how a tensor is spread over tensor-parallel ranks (vLLM v0.11,
// model_executor/layers/linear.py and models/llama.py).
type Sharding uint8

// Shardings.
const (
	UnknownSharding Sharding = iota
	Replicated               // every rank holds the whole
	Column                   // the last dimension, rank after rank
	KVColumn                 // as Column, but several ranks may hold the same heads
	HeadAxis                 // dimension 1, rank after rank
	KVHeadAxis               // as HeadAxis, but several ranks may hold the same heads
	PackedQKV                // the last dimension, q, k and v of each rank side by side
	MergedColumn             // the last dimension, the gate and the up half of each rank side by side
	PartialSum               // each rank's part of a sum
)

// State is what a module keeps from call to call.
type State uint8

// States.
const (
	Stateless     State = iota
	KeysAndValues       // of all positions, or of a window
	Latents             // of latent attention: one vector a position
	Recurrent           // of a fixed size a request
)

// Point is a place where kernels that are right differ.
type Point uint8

// Rounding points.
const (
	SumOrder      Point = iota // the order of a sum, in float32
	SplitSums                  // parts of a sum, rounded before they are added (split-K)
	Probabilities              // softmax's weights, rounded before they meet the values
	Weighted                   // the normalised value, before it meets the weight
	CosSin                     // the table of a rope
	Products                   // the products of a rope, before they are added
	Activated                  // the activation, before it meets the other half
	Result                     // what is returned
)

// Tensor is what a slot of a call holds, nil where the class does not say: of
// its arguments (inputs, or inputs after the call) or of what it returns. A
// single result has the slot "", and an argument by keyword its name.
func (s *Spec) Tensor(output bool, slot string) *Tensor {
	list := s.In
	if output {
		list = s.Out
	}
	i := 0
	if slot != "" {
		n, ok := layerNumber(slot)
		if !ok {
			n = len(list)
			for k := range list {
				if list[k].Name == slot {
					n = k
				}
			}
		}
		i = n
	}
	if i >= len(list) {
		return nil
	}
	return &list[i]
}

// Sharding is how ranks hold a slot.
func (s *Spec) Sharding(output bool, slot string) Sharding {
	if t := s.Tensor(output, slot); t != nil {
		return t.Sharding
	}
	return UnknownSharding
}

// PositionsSlots are the slots in which a decoder layer may be given the positions of
// the tokens: GPT-OSS's takes the hidden states first. They are the only integers there.
var PositionsSlots = []string{"0", "1"}

// PositionsSlot is the argument that is the positions of the tokens, "" where hooks see none.
func (s *Spec) PositionsSlot() string {
	for i, t := range s.In {
		if t.Name == positions.Name && !s.Keyword && (s.Positional == 0 || i < s.Positional) {
			return strconv.Itoa(i)
		}
	}
	return ""
}

// TakesPositions reports whether the first argument is the positions of the
// tokens.
func (s *Spec) TakesPositions() bool {
	return !s.Keyword && len(s.In) > 0 && s.In[0].Name == positions.Name
}

// TakesTokens reports whether the first argument is token ids.
func (s *Spec) TakesTokens() bool { return s.Kind == Embedding }
