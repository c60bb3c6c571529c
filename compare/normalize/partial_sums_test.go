package normalize

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Parts of a sum are added up and rounded once; parts of other shapes are refused.
func TestPartialSums(t *testing.T) {
	part := func(v ...float32) *tensor.Tensor { return tensor.FromFloat32s(tensor.BFloat16, v, 1, len(v)) }
	open := func(ts ...*tensor.Tensor) (*tensor.Tensor, error) {
		a := &assembly{sharding: topology.PartialSum, dim: -1}
		for i, x := range ts {
			a.files = append(a.files, held([]string{"cuda:0", "cuda:1", "cuda:2"}[i], x))
		}
		x, _, err := a.open(0)
		return x, err
	}
	x, err := open(part(1, -3), part(10, 20), part(0, 0))
	require.NoError(t, err)
	require.Equal(t, part(11, 17).Data, x.Data)
	x, err = open(part(256), part(1), part(1)) // 257 is between two values of bfloat16
	require.NoError(t, err)
	require.Equal(t, part(258).Data, x.Data)
	_, err = open(part(1), part(1, 2))
	require.ErrorContains(t, err, "expected parts of one sum")
}

// What the block of Qwen2-MoE adds up in 2025 is partial in its modules.
func TestPartialSumsOfMixtures(t *testing.T) {
	of := topology.ByName("Qwen2MoeForCausalLM", topology.Era2025)
	for _, m := range []string{"mlp.experts", "mlp.shared_expert"} {
		require.Equal(t, topology.PartialSum, of.Of("model.layers.0."+m).Sharding(true, ""), m)
	}
	require.Equal(t, topology.PartialSum, of.Of("model.layers.0.mlp.shared_expert.down_proj").Sharding(true, "0"))
	require.Equal(t, topology.Replicated, of.Of("model.layers.0.mlp").Sharding(true, ""))
	mixtral := topology.ByName("MixtralForCausalLM", topology.Era2025)
	require.Equal(t, topology.Replicated, mixtral.Of("model.layers.0.block_sparse_moe.experts").Sharding(true, ""))
}
