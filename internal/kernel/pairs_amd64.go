//go:build !noasm && !purego && !safe

package kernel

import (
	"golang.org/x/sys/cpu"

	"github.com/ilref/ilref/tensor"
)

func init() {
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA || !cpu.X86.HasF16C {
		return
	}
	softmaxKernel = softmaxSums_avx2
	bf16, f16, f32, f64 := tensor.BFloat16, tensor.Float16, tensor.Float32, tensor.Float64
	pairKernels = map[[2]tensor.DType]pairKernel{
		{bf16, bf16}: {pairSumsBF16BF16_avx2, pairDistancesBF16BF16_avx2}, {bf16, f16}: {pairSumsBF16F16_avx2, pairDistancesBF16F16_avx2}, {bf16, f32}: {pairSumsBF16F32_avx2, pairDistancesBF16F32_avx2},
		{f16, bf16}: {pairSumsF16BF16_avx2, pairDistancesF16BF16_avx2}, {f16, f16}: {pairSumsF16F16_avx2, pairDistancesF16F16_avx2}, {f16, f32}: {pairSumsF16F32_avx2, pairDistancesF16F32_avx2},
		{f32, bf16}: {pairSumsF32BF16_avx2, pairDistancesF32BF16_avx2}, {f32, f16}: {pairSumsF32F16_avx2, pairDistancesF32F16_avx2}, {f32, f32}: {pairSumsF32F32_avx2, pairDistancesF32F32_avx2},
		{f64, f64}: {pairSumsF64F64_avx2, pairDistancesF64F64_avx2},
	}
}
