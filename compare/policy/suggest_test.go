package policy

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/tensor"
)

func result(module string, d tensor.DType, g metric.Gap) *report.TensorDiff {
	return &report.TensorDiff{Key: report.Key{Module: module, Direction: "outputs"}, DTypes: [2]tensor.DType{tensor.Float32, d}, Gap: &g}
}

// One rule a kind, of the worst, with the margin and the floor of the coarser
// type; what is written is read back.
func TestSuggest(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Suggest(&b, []*report.Report{{
		Reference: report.Side{Dir: "good"}, Target: report.Side{Dir: "run"}, Verdict: report.Pass, Rule: report.RuleNoise,
		Tensors: []*report.TensorDiff{
			result("m.layers.1.it's", tensor.BFloat16, metric.Gap{RelL2: 0.01, OneMinus: 5e-5, MaxAbs: 0.5, Reference: 1, Target: 1.5, Values: 2}),
			result("m.layers.12.it's", tensor.BFloat16, metric.Gap{RelL2: 0.0111, MaxAbs: 0.25, Values: 2}),
			result("norm", tensor.Float32, metric.Gap{Values: 2, Equal: 2}),
		},
	}}))
	require.Equal(t, `# Bounds from runs that are known good, by ildiff suggest: the largest gap of each
# kind of module times 2, and never below one unit in the type's last place.
#   reference good
#   run       run: 0 of 0 tensors compared, pass by the rule "noise"
version: 1
rules:
  - module: '^m\.layers\.\d+\.it''s$'
    direction: outputs
    dtype: bfloat16
    judge: default
    max_rel_l2: 0.023 # measured 0.011
    min_cosine: 0.9998 # measured 1-5e-05
    max_abs: 1 # measured 0.5
  - module: '^norm$'
    direction: outputs
    dtype: float32
    judge: default
    max_rel_l2: 1.2e-07 # measured 0
    min_cosine: 0.999999999999985 # measured 1-0
`, b.String())
	p, err := Parse("p.yaml", b.Bytes())
	require.NoError(t, err)
	ok, err := p.Rules[0].Module.Search("m.layers.7.it's")
	require.NoError(t, err)
	require.True(t, ok)
}

// Vectors that point the other way give the widest bound that a policy takes.
func TestSuggestOpposed(t *testing.T) {
	var b bytes.Buffer
	r := &report.Report{Tensors: []*report.TensorDiff{result("norm", tensor.Float32, metric.Gap{RelL2: 2, OneMinus: 2, Values: 2})}}
	require.NoError(t, Suggest(&b, []*report.Report{r}))
	require.Contains(t, b.String(), "    min_cosine: -1 # measured 1-2\n")
	_, err := Parse("p.yaml", b.Bytes())
	require.NoError(t, err)
}

// A name in a comment cannot end it, and reaches no terminal raw.
func TestSuggestNames(t *testing.T) {
	r := &report.Report{
		Reference: report.Side{Dir: "a\nrules: []"}, Target: report.Side{Dir: "b\x1b[31m\nrules: []"},
		Tensors: []*report.TensorDiff{result("norm", tensor.Float32, metric.Gap{Values: 2, Equal: 2})},
	}
	var b bytes.Buffer
	require.NoError(t, Suggest(&b, []*report.Report{r}))
	require.Contains(t, b.String(), "#   reference a\\nrules: []\n#   run       b\\x1b[31m\\nrules: []: 0 of 0 ")
	_, err := Parse("p.yaml", b.Bytes())
	require.NoError(t, err)
}

func TestSuggestRefuses(t *testing.T) {
	ints := result("embed", tensor.Int32, metric.Gap{Values: 2, Equal: 1})
	ints.DTypes[0] = tensor.Int32
	for _, c := range []struct {
		r    report.Report
		want string
	}{
		{report.Report{}, "suggest: run: nothing was compared with the reference"},
		{report.Report{Workloads: []report.Workload{{Forward: 2, Why: "x"}}}, "suggest: run: step 2 ran other tokens than the reference: x"},
		{report.Report{Tensors: []*report.TensorDiff{result("norm", tensor.Float32, metric.Gap{NonFinite: 1})}}, "suggest: run: step_0/norm/outputs has NaN or infinities"},
		{report.Report{Tensors: []*report.TensorDiff{ints}}, "suggest: run: the integers of step_0/embed/outputs differ"},
	} {
		c.r.Target.Dir = "run"
		require.ErrorContains(t, Suggest(&bytes.Buffer{}, []*report.Report{&c.r}), c.want)
	}
}

// A bound that is rounded is never narrower, and wider by a tenth at most.
func TestRoundUp(t *testing.T) {
	require.Equal(t, []float64{0, 0.1, 0.11, 1, 1e-7}, []float64{roundUp(0), roundUp(0.1), roundUp(0.1001), roundUp(0.999), roundUp(1e-7)})
	rapid.Check(t, func(t *rapid.T) {
		v := math.Exp(rapid.Float64Range(-300, 300).Draw(t, "log"))
		if r := roundUp(v); r < v || r > 1.1001*v {
			t.Fatalf("%g became %g", v, r)
		}
	})
}
