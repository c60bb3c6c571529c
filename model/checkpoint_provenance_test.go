package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/tensor"
)

// The digests of a checkpoint's parameters are those that torch gives for them, as
// transformers 5.12 on torch 2.14 loads them in bfloat16 (capture/il_capture.py).
func TestFingerprints(t *testing.T) {
	ckpt, err := Open(fixture.Checkpoint("llama3-gqa"))
	require.NoError(t, err)
	defer ckpt.Close()
	got, err := ckpt.Fingerprints(tensor.BFloat16)
	require.NoError(t, err)
	require.Equal(t, []Fingerprint{
		{"model.embed_tokens.weight", []int{320, 64}, tensor.BFloat16, "ba20a59e3f2ab6e166d0cc7d0f4a55ec6375d702bfbf4ea968cd22e3f943be8c"},
		{"model.layers.0.self_attn.o_proj.weight", []int{64, 64}, tensor.BFloat16, "3b772fc5fb965a1b988e0e1a0a9ccb2f278a19158dba4627d50c27ddcd8a2025"},
		{"model.layers.0.mlp.down_proj.weight", []int{64, 176}, tensor.BFloat16, "d400b575beb1192f2ecf90bb3591977143ed526f4d828206c61c1c811d8d0e2e"},
		{"model.layers.1.self_attn.o_proj.weight", []int{64, 64}, tensor.BFloat16, "40c086ae9e42cb9462a34f22b1cd366d06071631c97344c7d384355e24415fa8"},
		{"model.layers.1.mlp.down_proj.weight", []int{64, 176}, tensor.BFloat16, "7c4542ab98289d9696613675db23e29df30fcdbc9c4fca6ef2399ccd58a7eb56"},
		{"model.layers.2.mlp.down_proj.weight", []int{64, 176}, tensor.BFloat16, "0c2111090e7a3fa88ec113443374b8ebabb1483f794e9d68d81b55220721dab9"},
		{"model.norm.weight", []int{64}, tensor.BFloat16, "bb836d8d30235bdd44f5bf2e2b6b2a7b9b7b7beca3d922f46c02aa86865f4a51"},
		{"lm_head.weight", []int{320, 64}, tensor.BFloat16, "6e8902581d5950e6d42dde686464b64bada2841600dacb1b91ec6728068c1f23"},
	}, got)
	digest, err := ckpt.ConfigDigest()
	require.NoError(t, err)
	require.Equal(t, "0b06c8d82c31a0116dfbfe41a85bc0d3874f0934730401444d8257cb87e62d06", digest)
	require.Equal(t, "llama3-gqa", ckpt.BaseName())

	// In another type the bytes are others; what is tied is one parameter.
	wide, err := ckpt.Fingerprints(tensor.Float32)
	require.NoError(t, err)
	for i := range wide {
		require.Equal(t, tensor.Float32, wide[i].DType)
		require.NotEqual(t, got[i].SHA256, wide[i].SHA256)
	}
	tied, err := Open(fixture.Checkpoint("gopher-1m"))
	require.NoError(t, err)
	defer tied.Close()
	require.True(t, tied.Config.TieWordEmbeddings)
	names := tied.fingerprintNames()
	require.NotContains(t, names, "lm_head.weight")
	require.Equal(t, "model.norm.weight", names[len(names)-1])
}
