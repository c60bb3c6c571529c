//go:build !noasm && !purego && !safe

package kernel

import (
	"golang.org/x/sys/cpu"

	"github.com/ilref/ilref/tensor"
)

// AVX-512 would gain nothing: memory and the counters are the limit.
func init() {
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA || !cpu.X86.HasF16C {
		return
	}
	softmaxKernel = softmaxSums_avx2
	bf16, f16, f32, f64 := tensor.BFloat16, tensor.Float16, tensor.Float32, tensor.Float64
	pairKernels = map[[2]tensor.DType]pairKernel{
		{bf16, bf16}: pairsBF16BF16_avx2, {bf16, f16}: pairsBF16F16_avx2, {bf16, f32}: pairsBF16F32_avx2,
		{f16, bf16}: pairsF16BF16_avx2, {f16, f16}: pairsF16F16_avx2, {f16, f32}: pairsF16F32_avx2,
		{f32, bf16}: pairsF32BF16_avx2, {f32, f16}: pairsF32F16_avx2, {f32, f32}: pairsF32F32_avx2,
		{f64, f64}: pairsF64F64_avx2,
	}
}
