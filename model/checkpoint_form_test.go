package model

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
)

// TestTorchBin reads weights that torch.save wrote, in its zip and its legacy
// format, some as transposed views, and finds those of the safetensors file.
func TestTorchBin(t *testing.T) {
	want, err := Open(filepath.Join(fixture.Architectures(), "qwen3"))
	require.NoError(t, err)
	defer want.Close()
	for _, kind := range []string{"single", "sharded"} {
		c, err := Open(filepath.Join(fixture.Architectures(), "..", "torch-bin", kind))
		require.NoError(t, err)
		defer c.Close()
		require.Equal(t, want.weights.names(), c.weights.names())
		for _, name := range want.weights.names() {
			w, _, err := want.weights.tensor(name)
			require.NoError(t, err)
			got, err := c.Weight(name, w.Shape...)
			require.NoError(t, err)
			require.Equal(t, w.Bytes(), got.Bytes(), name)
			require.True(t, got.IsContiguous())
		}
		_, err = Build(c, Options{})
		require.NoError(t, err)
		require.Empty(t, c.Unused())
	}
}

func TestTorchBinErrors(t *testing.T) {
	source := filepath.Join(fixture.Architectures(), "..", "torch-bin", "sharded")
	for _, tc := range []struct {
		name string
		edit func(dir string) error
		want string
	}{
		{
			"a missing shard", func(dir string) error { return os.Remove(filepath.Join(dir, "pytorch_model-00002-of-00002.bin")) },
			`pytorch_model-00002-of-00002.bin: no such file; pytorch_model.bin.index.json expects `,
		},
		{
			"a shard cut short", func(dir string) error {
				return os.Truncate(filepath.Join(dir, "pytorch_model-00001-of-00002.bin"), 5000)
			},
			`pytorch_model-00001-of-00002.bin: `,
		},
		{"no state_dict", func(dir string) error {
			b, err := os.ReadFile(filepath.Join(fixture.Session(t, "gopher-1m-bf16"), "step_0", "model.norm", "outputs_0_cuda_0.pt"))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "pytorch_model.bin"), b, 0o644)
		}, `pytorch_model.bin: holds the tensor "", expected a state_dict: a dict of tensors by name`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(dir, os.DirFS(source)))
			require.NoError(t, tc.edit(dir))
			_, err := Open(dir)
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}
