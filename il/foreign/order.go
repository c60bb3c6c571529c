package foreign

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// parentsFirst moves a call of a module that holds others before those that it
// made, where the dump lists calls as they return (msprobe since 2026, and results
// alone of any tool).
func parentsFirst(calls []*il.Call) {
	for i, c := range calls {
		if !topology.Of(c.Module).Kind.IsBlock() {
			continue
		}
		to := i
		for at := i - 1; at >= 0; at-- {
			if strings.HasPrefix(calls[at].Module, c.Module+".") {
				to = at
			} else if !topology.Of(calls[at].Module).Shared {
				break
			}
		}
		copy(calls[to+1:i+1], calls[to:i])
		calls[to] = c
	}
}

// execution lists the words of module names in the order in which a decoder calls
// them, within its layer and outside.
var execution = []string{
	"embed_tokens", "input_layernorm", "self_attn", "qkv_proj", "q_proj", "k_proj", "v_proj", "q_norm", "k_norm", "rotary_emb", "attn", "o_proj",
	"post_attention_layernorm", "pre_feedforward_layernorm", "mlp", "block_sparse_moe", "gate", "experts", "gate_up_proj", "gate_proj", "up_proj", "act_fn", "down_proj",
	"post_feedforward_layernorm",
}

// byExecution orders modules as a decoder calls them: the embedding, the layers, a
// module before those in it, what stands outside behind the layers.
func byExecution(a, b string) int {
	x, y := topology.Locate(a), topology.Locate(b)
	if c := cmp.Or(cmp.Compare(stage(x), stage(y)), cmp.Compare(x.Layer, y.Layer)); c != 0 {
		return c
	}
	return cmp.Or(slices.CompareFunc(strings.Split(x.Rel, "."), strings.Split(y.Rel, "."), func(p, q string) int {
		return cmp.Or(cmp.Compare(turn(p), turn(q)), cmp.Compare(p, q))
	}), cmp.Compare(a, b))
}

// stage is 0 before the layers, 1 in them, 2 behind.
func stage(p topology.Place) int {
	switch kind := topology.Of(p.Name()).Kind; {
	case p.Layer >= 0:
		return 1
	case kind == topology.Embedding, kind == topology.Rope:
		return 0
	case kind.IsHead():
		return 3
	}
	return 2
}

// turn is when a word comes; "" is the module that holds the others.
func turn(word string) int {
	if word == "" {
		return -1
	}
	if i := slices.Index(execution, word); i >= 0 {
		return i
	}
	return len(execution)
}
