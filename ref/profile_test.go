package ref

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// The version of vLLM decides the rounding profile; what no profile has is said.
func TestArithmeticOf(t *testing.T) {
	vllm := func(version string) provenance.Record {
		return provenance.Record{Engine: provenance.Engine{Name: "vllm", Version: version}, Model: provenance.Model{DType: "bfloat16"}}
	}
	with := func(change func(*provenance.Record)) provenance.Record {
		r := vllm("0.11.0")
		change(&r)
		return r
	}
	for _, c := range []struct {
		name  string
		made  provenance.Record
		want  nn.Rounding
		notes []string // a piece of each
	}{
		{"0.10.2", vllm("0.10.2"), nn.VLLM2025, nil},
		{"0.19.1", vllm("0.19.1"), nn.VLLM2025, nil},
		{"0.20.0", vllm("v0.20.0"), nn.VLLM2026, nil},
		{"0.22.1", vllm("0.22.1rc2+cu129"), nn.VLLM2026, nil},
		{"0.23.0", vllm("0.23.0"), nn.VLLM2026, []string{"which no profile has: vllm-2026 is taken"}},
		{"0.24.0", vllm("0.24.0"), nn.VLLM2026, nil},
		{"1.0", vllm("1.0"), nn.VLLM2026, nil},
		{"a build before 0.20", vllm("0.19.2rc1.dev134+g1234567"), nn.VLLM2025, []string{"was built between releases, at about the change of RMSNorm and rope"}},
		{"a build before 0.23", vllm("0.22.1.dev9+g1234567"), nn.VLLM2026, []string{"which no profile has"}},
		{"a checkout without tags", vllm("0.1.dev1+g1234567"), "", []string{"is no version that a rounding profile follows from"}},
		{"no version", vllm(""), "", []string{"does not name vLLM's version"}},
		{"no number", vllm("main"), "", []string{`vLLM "main" is no version`}},
		{"ilref", provenance.Record{Engine: provenance.Engine{Name: "ilref", Rounding: "vllm-2026"}}, nn.VLLM2026, nil},
		{"ilref in float32", provenance.Record{Engine: provenance.Engine{Name: "ilref"}}, "", nil},
		{"an engine that has a profile's name", provenance.Record{Engine: provenance.Engine{Name: "vllm-2026"}}, nn.VLLM2026, nil},
		{"another engine", provenance.Record{Engine: provenance.Engine{Name: "engine", Version: "5"}}, "", []string{"no rounding profile is known for engine 5: --rounding chooses one"}},
		{"no engine", provenance.Record{}, "", nil},
		{"fp8 cache", with(func(r *provenance.Record) { r.Model.KVCacheDType = "fp8_e4m3" }), nn.VLLM2025, []string{"its KV cache is fp8_e4m3"}},
		{"auto cache", with(func(r *provenance.Record) { r.Model.KVCacheDType = "auto" }), nn.VLLM2025, nil},
		{"quantised", with(func(r *provenance.Record) { r.Model.Quantization = "gptq" }), nn.VLLM2025, []string{"its weights were quantised (gptq)"}},
		{"native norms", with(func(r *provenance.Record) {
			r.Kernels.CustomOps = map[string]map[string]int{"RMSNorm": {"forward_native": 7}}
		}), nn.VLLM2025, []string{"its RMSNorm ran as PyTorch's operations"}},
		{"kernels' norms", with(func(r *provenance.Record) {
			r.Kernels.CustomOps = map[string]map[string]int{"RMSNorm": {"forward_cuda": 7}}
		}), nn.VLLM2025, nil},
		{"native by priority", with(func(r *provenance.Record) { r.Kernels.IROpPriority = "IrOpPriorityConfig(rms_norm=['native'])" }), nn.VLLM2025, []string{"its RMSNorm ran"}},
		{"kernels by priority", with(func(r *provenance.Record) { r.Kernels.IROpPriority = `{"rms_norm":["vllm_c","native"]}` }), nn.VLLM2025, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ArithmeticOf(&c.made, tensor.BFloat16)
			require.Equal(t, c.want, got.Rounding)
			require.Len(t, got.Notes, len(c.notes))
			for i, n := range c.notes {
				require.Contains(t, got.Notes[i], n)
			}
		})
	}
	require.Equal(t, Arithmetic{}, ArithmeticOf(nil, tensor.BFloat16))
	made := vllm("0.11.0")
	require.Equal(t, tensor.BFloat16, ArithmeticOf(&made, tensor.Invalid).DType)
	got := ArithmeticOf(&made, tensor.Float16)
	require.Equal(t, tensor.Float16, got.DType, "what was recorded counts")
	require.Equal(t, []string{"it says that the model's dtype is bfloat16, but its activations are float16, which count"}, got.Notes)
	made.Model.DType = "float8_e4m3fn"
	require.Equal(t, tensor.Invalid, ArithmeticOf(&made, tensor.Invalid).DType, "nothing is computed in it")
}
