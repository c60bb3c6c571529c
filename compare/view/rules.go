package view

import (
	"fmt"
	"strings"

	"github.com/ilref/ilref/il"
)

// rule is how a tensor is spread over tensor-parallel ranks.
type rule int

const (
	unknown    rule = iota
	replicated      // every rank holds the whole
	joined          // the last dimension, rank after rank
	kvJoined        // as joined, but several ranks may hold the same heads
	headsAxis       // dimension 1, rank after rank
	kvHeadsAxis
	packedQKV // the last dimension, q, k and v of each rank side by side
	halves    // the last dimension, the gate and the up half of each rank side by side
)

// sharded are the modules whose tensors are not replicated, by the last word
// of their name (vLLM v0.11, model_executor/layers/linear.py and
// models/llama.py: column-parallel outputs and row-parallel inputs are a
// rank's own). What is missing in a list is replicated.
var sharded = map[string]map[il.Direction]map[string]rule{
	"qkv_proj":     {il.Outputs: {"0": packedQKV}},
	"rotary_emb":   {il.Inputs: {"1": joined, "2": kvJoined}, il.Outputs: {"0": joined, "1": kvJoined}},
	"attn":         {il.Inputs: {"0": joined, "1": kvJoined, "2": kvJoined}, il.Outputs: {"0": joined}},
	"o_proj":       {il.Inputs: {"0": joined}},
	"gate_up_proj": {il.Outputs: {"0": halves}},
	"act_fn":       {il.Inputs: {"0": halves}, il.Outputs: {"0": joined}},
	"down_proj":    {il.Inputs: {"0": joined}},
	"q_norm":       {il.Inputs: {"0": headsAxis}, il.Outputs: {"0": headsAxis}},
	"k_norm":       {il.Inputs: {"0": kvHeadsAxis}, il.Outputs: {"0": kvHeadsAxis}},
}

// wholes are the modules whose tensors every rank holds: after an all-reduce,
// or an all-gather for the logits.
var wholes = map[string]bool{
	"model": true, "embed_tokens": true, "self_attn": true, "mlp": true, "block_sparse_moe": true,
	"gate": true, "experts": true, "logits_processor": true, "norm": true,
	"input_layernorm": true, "post_attention_layernorm": true,
	"pre_feedforward_layernorm": true, "post_feedforward_layernorm": true,
}

// ruleOf finds how a slot of a vLLM module is spread.
func ruleOf(module string, d il.Direction, path string) rule {
	last := lastWord(module)
	if d == il.PostFwdInputs {
		d = il.Inputs
	}
	if path == "" { // a single result
		path = "0"
	}
	if dirs, ok := sharded[last]; ok {
		if r, ok := dirs[d][path]; ok {
			return r
		}
		return replicated
	}
	if wholes[last] || isLayer(module) {
		return replicated
	}
	return unknown
}

// dim is the dimension that a rule joins, of a tensor with so many dimensions.
func (r rule) dim(dims int) int {
	if r == headsAxis || r == kvHeadsAxis {
		return 1
	}
	return dims - 1
}

// pieces lists what a whole is made of: extents are the sizes of the joined
// dimension of every rank, q and k the widths of a rank's queries and keys, and
// rep is how many ranks in a row hold the same keys and values.
func (r rule) pieces(extents []int, q, k, rep int) ([]piece, error) {
	var out []piece
	part := func(step int, bounds func(extent int) (from, n int)) {
		for i := 0; i < len(extents); i += step {
			from, n := bounds(extents[i])
			out = append(out, piece{i, from, n})
		}
	}
	all := func(extent int) (int, int) { return 0, extent }
	switch r {
	case joined, headsAxis:
		part(1, all)
	case kvJoined, kvHeadsAxis:
		part(rep, all)
	case halves:
		part(1, func(extent int) (int, int) { return 0, extent / 2 })
		part(1, func(extent int) (int, int) { return extent / 2, extent - extent/2 })
	case packedQKV:
		for _, e := range extents {
			if e != q+2*k {
				return nil, fmt.Errorf("a rank's packed q, k and v are %d wide, but its queries are %d and its keys %d", e, q, k)
			}
		}
		part(1, func(int) (int, int) { return 0, q })
		part(rep, func(int) (int, int) { return q, k })
		part(rep, func(int) (int, int) { return q + k, k })
	}
	return out, nil
}

func lastWord(module string) string { return module[strings.LastIndexByte(module, '.')+1:] }

// isLayer recognises a whole layer, whose name ends in "layers.N".
func isLayer(module string) bool {
	up := strings.TrimRight(module, "0123456789")
	return len(up) < len(module) && (up == "layers." || strings.HasSuffix(up, ".layers."))
}
