package render

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/tensor"
)

// pairs are comparisons of PyTorch's sessions with every outcome.
var pairs = []struct {
	name, reference, target string
	opts                    compare.Options
	exit                    int
}{
	{"equal", "llama3-gqa-bf16", "llama3-gqa-bf16", compare.Options{}, 0},
	{"noise", "llama3-gqa-bf16", "llama3-gqa-bf16-splitk", compare.Options{}, 0},
	{"fault", "llama3-gqa-bf16", "llama3-gqa-bf16-fault-row_scale", compare.Options{}, 1},
	{"other tokens later", "llama3-gqa-bf16", "llama3-gqa-bf16-fault-rope_theta", compare.Options{}, 1},
	{"missing", "llama3-gqa-bf16", "llama3-gqa-bf16-filtered", compare.Options{}, 3},
	{"missing, but enough", "llama3-gqa-bf16", "llama3-gqa-bf16-filtered", compare.Options{MinCoverage: new(20.)}, 0},
	{"stubs", "llama3-gqa-bf16-max1000", "llama3-gqa-bf16-max1000", compare.Options{}, 3},
	{"bounds", "llama3-gqa-bf16", "llama3-gqa-bf16-splitk", compare.Options{Bounds: report.Bounds{MaxRelL2: new(1e-3)}}, 1},
	{"types", "llama3-gqa-fp32", "llama3-gqa-bf16", compare.Options{}, 0},
}

// compared runs a comparison; the directories in its report are those of every
// machine.
func compared(t *testing.T, reference, target string, o compare.Options) (*report.Report, Options) {
	t.Helper()
	a, err := il.Open(fixture.Session(t, reference))
	require.NoError(t, err)
	b, err := il.Open(fixture.Session(t, target))
	require.NoError(t, err)
	r, err := compare.SessionsContext(context.Background(), a, b, o)
	require.NoError(t, err)
	va, vb, _, err := normalize.Prepare(a, b, o.View)
	require.NoError(t, err)
	r.Reference.Dir, r.Target.Dir = reference, target
	return r, Options{Bounds: o.Bounds, Reread: Sessions(va, vb)}
}

func written(t *testing.T, w Writer, r *report.Report, o Options) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, w(&b, r, o))
	return b.String()
}

// evil is text that is markup in every format.
const evil = "a<script>alert(1)</script>&amp;\"'|`b`|*c*_d_[e](javascript:f)\x00\x1b[31m\n# g\\ \xff @h ]]> -->"

// evilReport holds evil wherever a session or a file can put text.
func evilReport() *report.Report {
	key := report.Key{Step: 3, Module: evil + ".layers.1." + evil, Call: 1, Direction: "outputs", Slot: evil}
	gap := &metric.Gap{Numel: 4, Values: 4, MaxAbs: math.Inf(1), MaxAbsAt: []int{1}, Reference: math.NaN(), Target: math.Inf(-1), OneMinus: math.NaN(), RelL2: math.Inf(1), NormRatio: math.NaN(), Mismatched: 1, Equal: 3, NaN: [2]int{1, 0}, Inf: [2]int{0, 1}, NonFinite: 1}
	x := &report.TensorDiff{Key: key, DTypes: [2]tensor.DType{tensor.BFloat16, tensor.Float32}, Shape: []int{4}, Rank: evil, Gap: gap, Verdict: report.Fail}
	m := &report.CallDiff{Step: 3, Module: key.Module, Call: 1, Forward: 3, Layer: 1, Tensors: 5, Compared: 1, Outputs: x, Verdict: report.Fail, Why: evil, Hint: evil}
	other := key
	other.Slot = "1"
	tokens := &report.LogitsTokens{NoNext: 1, OtherNext: 2, Undefined: 3}
	for q := range 7 {
		tokens.Tokens = append(tokens.Tokens, report.TokenLogprob{
			Request: q, Position: 9, ID: 42, Text: evil, Step: 4, Logprob: metric.Logprob{Log: [2]float64{-1, -2 / float64(q%2)}, KL: [2]float64{0, math.Inf(1)}},
			Parts: &report.Parting{Key: key, Layer: 1, RelL2: math.Inf(1), Within: q == 1},
		})
	}
	logprobs := report.NewLogprobs([]*report.LogitsTokens{tokens}, 0.2)
	logprobs.Broken = []string{evil}
	return &report.Report{
		Reference: report.Side{Dir: evil, Variant: evil, Steps: []int{3}, DTypes: []string{evil}}, Target: report.Side{Dir: evil},
		Rule: report.RuleNoise, Verdict: report.Fail, MinCoverage: 100,
		FirstDivergence: &report.Divergence{Key: key, Layer: 1, Why: evil, Hint: evil},
		Coverage: report.Coverage{
			Compared: 1, MissingInReference: []report.Key{other}, MissingInTarget: []report.Key{other},
			Skipped: []report.Problem{{Key: other, Why: evil}}, Unreadable: []report.Problem{{Key: other, Why: evil}},
		},
		Modules: []*report.CallDiff{m}, Tensors: []*report.TensorDiff{x},
		Workloads: []report.Workload{{Forward: 4, Why: evil}}, Warnings: []string{evil}, Logprobs: logprobs,
	}
}

// wideReport is that of a large model: 40 layers of 13 modules, in 8 steps,
// and no tensor equal.
func wideReport(layers, kinds, steps int) *report.Report {
	r := &report.Report{Rule: report.RuleNoise, Verdict: report.Pass, MinCoverage: 100}
	for s := range steps {
		for l := range layers {
			for k := range kinds {
				m := &report.CallDiff{Step: s, Module: fmt.Sprintf("model.layers.%d.self_attn.module_%d_proj", l, k), Forward: s, Layer: l, Tensors: 3, Compared: 3, Verdict: report.Pass}
				for i, d := range []string{"inputs", "inputs", "outputs"} {
					v := 1e-3 * float64(1+l+k)
					x := &report.TensorDiff{
						Key:    report.Key{Step: s, Module: m.Module, Direction: d, Slot: fmt.Sprint(i)},
						DTypes: [2]tensor.DType{tensor.BFloat16, tensor.BFloat16}, Shape: []int{1024, 5120}, Verdict: report.Pass,
						Gap: &metric.Gap{
							Numel: 1024 * 5120, Values: 1024 * 5120, MaxAbs: v, MaxAbsAt: []int{1000, 5000}, Reference: -1.2345, Target: 2.3456, OneMinus: v * v, RelL2: v, NormRatio: 1.00123, Mismatched: 3,
							Scale: &metric.Scale{MinusOne: -1.2e-5}, WorstToken: &metric.Worst{Index: 1000, RelL2: v}, WorstChannel: &metric.Worst{Index: 5000, RelL2: v}, ULP: &metric.ULP{P99: 32, Max: 12345},
						},
					}
					r.Tensors = append(r.Tensors, x)
					if d == "inputs" {
						m.Inputs = x
					} else {
						m.Outputs = x
					}
				}
				r.Modules = append(r.Modules, m)
				r.Coverage.Compared += 3
			}
		}
	}
	return r
}

// Every outcome in every format; equal reports give equal bytes.
func TestFormats(t *testing.T) {
	checks := map[string]func(*testing.T, *report.Report, string){"junit": checkJUnit, "markdown": checkMarkdown, "html": checkHTML}
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			r, o := compared(t, p.reference, p.target, p.opts)
			require.Equal(t, p.exit, r.ExitCode())
			checkSchema(t, r)
			for name, w := range Formats {
				s := written(t, w, r, o)
				checks[name](t, r, s)
				require.Equal(t, s, written(t, w, r, o), name)
			}
		})
	}
}

type full struct{ left int }

func (f *full) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, fmt.Errorf("no space left on device")
	}
	return len(b), nil
}

// A writer that fails, at whatever byte, is an error of every format.
func TestWriteError(t *testing.T) {
	r := evilReport()
	for name, w := range Formats {
		n := len(written(t, w, r, Options{}))
		for _, left := range []int{0, 10, n / 2, n - 1} {
			require.EqualError(t, w(&full{left}, r, Options{}), "no space left on device", name)
		}
		require.NoError(t, w(&full{n}, r, Options{}), name)
	}
}
