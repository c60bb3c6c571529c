package model

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

var updateBits = flag.Bool("update-bits", false, "write testdata/architectures/bits.txt")

// TestGoldenBits holds the logits of every architecture in every dtype to the
// bits that were committed, so that golden sessions survive faster kernels. It
// must pass with and without assembly, on any CPU.
func TestGoldenBits(t *testing.T) {
	path := filepath.Join(fixture.Architectures(), "bits.txt")
	got := map[string]string{}
	configs, err := filepath.Glob(filepath.Join(fixture.Architectures(), "*", "config.json"))
	require.NoError(t, err)
	ids := []int{1, 17, 30, 99, 4, 4, 58, 120, 7, 66, 31, 3, 3, 90, 154, 12}
	positions := make([]int, len(ids))
	for i := range positions {
		positions[i] = i
	}
	for _, config := range configs {
		c, err := Open(filepath.Dir(config))
		require.NoError(t, err)
		defer c.Close()
		for _, dtype := range []tensor.DType{tensor.Float64, tensor.Float32, tensor.BFloat16, tensor.Float16} {
			for _, rounding := range nn.Roundings() {
				m, err := Build(c, Options{Era: rounding.Era()})
				require.NoError(t, err)
				if dtype == tensor.Float16 && m.NoFloat16 != "" {
					continue
				}
				num, err := nn.NewNumerics(dtype, rounding, 2)
				require.NoError(t, err)
				s := &nn.Step{Numerics: num, Hooks: nn.NoHooks{}, Spans: []nn.Span{{Lo: 0, Hi: len(ids), Cache: nn.NewCache()}}}
				h := m.Forward(s, tensor.FromInts(tensor.Int32, ids, len(ids)), tensor.FromInts(tensor.Int64, positions, len(ids)))
				sum := sha256.Sum256(m.Logits(s, h).Bytes())
				got[fmt.Sprintf("%s %s %s", filepath.Base(filepath.Dir(config)), dtype, rounding)] = hex.EncodeToString(sum[:8])
			}
		}
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(got)) {
		lines = append(lines, name+" "+got[name]+"\n")
	}
	if *updateBits {
		require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), strings.Join(lines, ""))
}
