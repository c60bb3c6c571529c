package nearest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTo(t *testing.T) {
	names := strings.Fields("model.norm.weight model.layers.0.mlp.up_proj.weight lm_head.weight")
	require.Equal(t, "lm_head.weight", To("lm_haed.weight", names))
	require.Equal(t, "model.norm.weight", To("norm.weight", names))
	require.Equal(t, "", To("q", names))
}

func TestHolding(t *testing.T) {
	names := strings.Fields("model.norm model.layers.0.mlp model.layers.1.mlp model.layers.2.mlp")
	require.Equal(t, []string{"model.layers.0.mlp"}, Holding("layers.0.mlp", names, 3))
	require.Equal(t, []string{"model.layers.0.mlp", "model.layers.1.mlp"}, Holding("layers.3.mlp", names, 2))
	require.Empty(t, Holding("rotary_emb", names, 3))
}

func TestDistance(t *testing.T) {
	require.Equal(t, 3, distance("kitten", "sitting", false))
	require.Equal(t, 5, distance("", "abcde", false))
	require.Equal(t, 0, distance("itt", "sitting", true))
	require.Equal(t, 1, distance("iht", "sitting", true))
}
