package model

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/model/safetensors"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// TestModulesBitByBit gives each module that holds no others what an independent
// computation in PyTorch gave it in bfloat16 (testdata/architectures/make.py),
// and compares the bits of what it returns. Sums in another order may fall to
// the other side of a rounding boundary: 99 % of each module's values are equal.
func TestModulesBitByBit(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(fixture.Architectures(), "*", "modules.*.safetensors"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		name := filepath.Base(filepath.Dir(file))
		rounding := nn.Rounding(strings.Split(filepath.Base(file), ".")[1])
		t.Run(name+"/"+string(rounding), func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			golden, err := safetensors.Parse(file, data)
			require.NoError(t, err)
			num, err := nn.NewNumerics(tensor.BFloat16, rounding, 1)
			require.NoError(t, err)
			for _, m := range built(t, name, OptionsOf(rounding)).Modules() {
				_, keeps := m.(nn.Stateful) // attention without a module of its own
				if kind := m.Spec().Kind; kind.IsBlock() && !keeps || kind == topology.Model {
					continue
				}
				calls := 0
				for call := m.Name(); has(golden, call+".outputs.0"); call = fmt.Sprintf("%s_%d", m.Name(), calls) {
					equal, total := moduleBits(t, golden, num, m, call)
					require.GreaterOrEqual(t, float64(equal), 0.99*float64(total), "%s: %d of %d values equal", call, equal, total)
					calls++
				}
				require.Positive(t, calls, "%s is not in %s", m.Name(), file)
			}
		})
	}
}

func has(f *safetensors.File, name string) bool {
	_, ok := f.Entry(name)
	return ok
}

// lastPlaces is how far apart two numbers in float32 are, which hold what sums in another
// order left in their last places.
func lastPlaces(a, b []byte) int {
	x, y := int(int32(binary.LittleEndian.Uint32(a))), int(int32(binary.LittleEndian.Uint32(b)))
	return max(x-y, y-x)
}

// moduleBits computes one call of a module and counts the values that are the
// golden ones.
func moduleBits(t *testing.T, golden *safetensors.File, num nn.Numerics, m nn.Module, call string) (equal, total int) {
	t.Helper()
	var in il.Tuple
	for i, input := range m.Inputs() {
		if input.Fixed {
			in = append(in, input.Value)
			continue
		}
		x := goldenTensor(t, golden, fmt.Sprintf("%s.inputs.%d", call, i)).Clone() // modules write in place
		in = append(in, x)
	}
	require.NoError(t, nn.CheckInputs(m, tensor.BFloat16, in), call)
	rows := nn.Rows(m, in)
	s := &nn.Step{Numerics: num, Hooks: nn.NoHooks{}, Spans: []nn.Span{{Lo: 0, Hi: rows, Cache: nn.NewCache()}}}
	value := m.Forward(s, in)
	out, ok := value.(il.Tuple)
	if !ok {
		out = il.Tuple{value}
	}
	for i := range out {
		got := out.Tensor(i)
		if got == nil {
			continue
		}
		want := goldenTensor(t, golden, fmt.Sprintf("%s.outputs.%d", call, i))
		require.Equal(t, want.Shape, got.Shape, call)
		require.Equal(t, want.DType, got.DType, call)
		a, b, size := got.Bytes(), want.Bytes(), got.DType.Size()
		for j := 0; j < len(a); j += size {
			total++
			if bytes.Equal(a[j:j+size], b[j:j+size]) || got.DType == tensor.Float32 && lastPlaces(a[j:], b[j:]) <= 4 {
				equal++
			}
		}
	}
	return equal, total
}
