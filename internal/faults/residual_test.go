package faults

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// A residual stream in float32 is told as that and judged by replay like any other:
// every call is computed again, and a fault beside it is found in each mode.
func TestFloatResidual(t *testing.T) {
	b := NewBench(t, "gopher-1m")
	const told = "the target keeps the residual stream in float32, the reference in bfloat16: another rounding, no fault"
	target := b.Session(t, Setting{Order: both(Reversed, floatResidual)})
	norm := target.Call(0, topology.InLayer(1, topology.InputNormName), 0)
	require.NoError(t, norm.Slot("outputs", "1").Tensors[0].With(func(x *tensor.Tensor) error {
		require.Equal(t, tensor.Float32, x.DType)
		return nil
	}))
	scaled := both(floatResidual, func(r *Run) {
		each(r.Model, func(m *nn.RMSNorm) {
			if m.Name() == topology.InLayer(1, topology.InputNormName) {
				m.Weight = edited(m.Weight, func(_ int, v []float64) {
					for i := range v {
						v[i] *= 1.05
					}
				})
			}
		})
	})
	fault := b.Session(t, Setting{Order: Reversed, Inject: scaled})
	for _, m := range modes {
		_, r := judge(t, b, m, Setting{}, b.Ref, target)
		require.Equal(t, report.Pass, r.Verdict, m.name)
		require.Contains(t, r.Warnings, told, m.name)
		require.Empty(t, r.Fallback, m.name)
		require.NotContains(t, strings.Join(r.Warnings, "\n"), "last place off", m.name)

		out, _ := judge(t, b, m, Setting{}, b.Ref, fault)
		require.Equal(t, Place{Module: topology.InLayer(1, topology.InputNormName)}, out.place, "%s: %s", m.name, out.why)

		_, r = judge(t, b, m, Setting{}, target, target)
		require.Equal(t, report.Pass, r.Verdict, m.name)
		require.NotContains(t, r.Warnings, told, m.name)
	}
}
