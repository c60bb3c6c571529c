//go:build !noasm && !purego && !safe

package kernel

import (
	"golang.org/x/sys/cpu"

	"github.com/ilref/ilref/tensor"
)

// The instruction sets that this CPU has, the best first.
func init() {
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512DQ {
		simd32, simd64, simdLoops = append(simd32, avx512f32), append(simd64, avx512f64), append(simdLoops, avx512Loops)
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasF16C {
		simd32, simd64, simdLoops = append(simd32, avx2f32), append(simd64, avx2f64), append(simdLoops, avx2Loops)
	}
}

var avx512Conversions = map[source]packKernel{
	{stored: tensor.Float32}:          packF32_avx512,
	{stored: tensor.BFloat16}:         packBF16_avx512,
	{stored: tensor.Float16}:          packF16_avx512,
	{stored: tensor.Float8E5M2}:       packE5M2_avx512,
	{stored: tensor.Float8E4M3FN}:     packE4M3_avx512,
	{tensor.Float32, tensor.BFloat16}: packF32ToBF16_avx512,
	{tensor.Float32, tensor.Float16}:  packF32ToF16_avx512,
}

var avx512f32 = &simd[float32]{
	name: "avx512", lanes: 16, rows: 14, blocking: shortPanels,
	narrow: [maxRows + 1]tileKernel[float32]{
		1: sgemm1x2_avx512, sgemm2x2_avx512, sgemm3x2_avx512, sgemm4x2_avx512, sgemm5x2_avx512, sgemm6x2_avx512, sgemm7x2_avx512, sgemm8x2_avx512, sgemm9x2_avx512, sgemm10x2_avx512, sgemm11x2_avx512, sgemm12x2_avx512, sgemm13x2_avx512, sgemm14x2_avx512,
	},
	wide: [len(wideVectors)]tileKernel[float32]{1: sgemm1x8_avx512, sgemm2x4_avx512, sgemm3x4_avx512},
	pack: packer[float32]{bytes: 64, exact: packF32_avx512, convert: avx512Conversions},
	streams: map[source]stream[float32]{
		{stored: tensor.Float32}:          {64, [FewRows]streamKernel[float32]{streamF32x1_avx512, streamF32x2_avx512, streamF32x3_avx512, streamF32x4_avx512}},
		{stored: tensor.BFloat16}:         {128, [FewRows]streamKernel[float32]{streamBF16x1_avx512, streamBF16x2_avx512, streamBF16x3_avx512, streamBF16x4_avx512}},
		{stored: tensor.Float16}:          {128, [FewRows]streamKernel[float32]{streamF16x1_avx512, streamF16x2_avx512, streamF16x3_avx512, streamF16x4_avx512}},
		{stored: tensor.Float8E5M2}:       {128, [FewRows]streamKernel[float32]{streamE5M2x1_avx512, streamE5M2x2_avx512, streamE5M2x3_avx512, streamE5M2x4_avx512}},
		{stored: tensor.Float8E4M3FN}:     {128, [FewRows]streamKernel[float32]{streamE4M3x1_avx512, streamE4M3x2_avx512, streamE4M3x3_avx512, streamE4M3x4_avx512}},
		{tensor.Float32, tensor.BFloat16}: {64, [FewRows]streamKernel[float32]{streamF32ToBF16x1_avx512, streamF32ToBF16x2_avx512, streamF32ToBF16x3_avx512, streamF32ToBF16x4_avx512}},
		{tensor.Float32, tensor.Float16}:  {64, [FewRows]streamKernel[float32]{streamF32ToF16x1_avx512, streamF32ToF16x2_avx512, streamF32ToF16x3_avx512, streamF32ToF16x4_avx512}},
	},
}

var avx512f64 = &simd[float64]{
	name: "avx512", lanes: 8, rows: 14, blocking: shortPanels,
	narrow: [maxRows + 1]tileKernel[float64]{
		1: dgemm1x2_avx512, dgemm2x2_avx512, dgemm3x2_avx512, dgemm4x2_avx512, dgemm5x2_avx512, dgemm6x2_avx512, dgemm7x2_avx512, dgemm8x2_avx512, dgemm9x2_avx512, dgemm10x2_avx512, dgemm11x2_avx512, dgemm12x2_avx512, dgemm13x2_avx512, dgemm14x2_avx512,
	},
	wide: [len(wideVectors)]tileKernel[float64]{1: dgemm1x8_avx512, dgemm2x4_avx512, dgemm3x4_avx512},
	pack: packer[float64]{bytes: 64, exact: packF64_avx512, convert: avx512Conversions, widen64: widen64_avx512},
	streams: map[source]stream[float64]{
		{stored: tensor.Float64}: {32, [FewRows]streamKernel[float64]{streamF64x1_avx512, streamF64x2_avx512, streamF64x3_avx512, streamF64x4_avx512}},
	},
}

var avx2Conversions = map[source]packKernel{
	{stored: tensor.Float32}:          packF32_avx2,
	{stored: tensor.BFloat16}:         packBF16_avx2,
	{stored: tensor.Float16}:          packF16_avx2,
	{stored: tensor.Float8E5M2}:       packE5M2_avx2,
	{stored: tensor.Float8E4M3FN}:     packE4M3_avx2,
	{tensor.Float32, tensor.BFloat16}: packF32ToBF16_avx2,
	{tensor.Float32, tensor.Float16}:  packF32ToF16_avx2,
}

var avx2f32 = &simd[float32]{
	name: "avx2", lanes: 8, rows: 6, blocking: longPanels,
	narrow: [maxRows + 1]tileKernel[float32]{
		1: sgemm1x2_avx2, sgemm2x2_avx2, sgemm3x2_avx2, sgemm4x2_avx2, sgemm5x2_avx2, sgemm6x2_avx2,
	},
	wide: [len(wideVectors)]tileKernel[float32]{1: sgemm1x8_avx2, sgemm2x4_avx2, sgemm3x4_avx2},
	pack: packer[float32]{bytes: 32, exact: packF32_avx2, convert: avx2Conversions},
	streams: map[source]stream[float32]{
		{stored: tensor.Float32}:          {32, [FewRows]streamKernel[float32]{streamF32x1_avx2, streamF32x2_avx2, streamF32x3_avx2, streamF32x4_avx2}},
		{stored: tensor.BFloat16}:         {64, [FewRows]streamKernel[float32]{streamBF16x1_avx2, streamBF16x2_avx2, streamBF16x3_avx2, streamBF16x4_avx2}},
		{stored: tensor.Float16}:          {64, [FewRows]streamKernel[float32]{streamF16x1_avx2, streamF16x2_avx2, streamF16x3_avx2, streamF16x4_avx2}},
		{stored: tensor.Float8E5M2}:       {64, [FewRows]streamKernel[float32]{streamE5M2x1_avx2, streamE5M2x2_avx2, streamE5M2x3_avx2, streamE5M2x4_avx2}},
		{stored: tensor.Float8E4M3FN}:     {64, [FewRows]streamKernel[float32]{streamE4M3x1_avx2, streamE4M3x2_avx2, streamE4M3x3_avx2, streamE4M3x4_avx2}},
		{tensor.Float32, tensor.BFloat16}: {32, [FewRows]streamKernel[float32]{streamF32ToBF16x1_avx2, streamF32ToBF16x2_avx2, streamF32ToBF16x3_avx2, streamF32ToBF16x4_avx2}},
		{tensor.Float32, tensor.Float16}:  {32, [FewRows]streamKernel[float32]{streamF32ToF16x1_avx2, streamF32ToF16x2_avx2, streamF32ToF16x3_avx2, streamF32ToF16x4_avx2}},
	},
}

var avx2f64 = &simd[float64]{
	name: "avx2", lanes: 4, rows: 6, blocking: longPanels,
	narrow: [maxRows + 1]tileKernel[float64]{
		1: dgemm1x2_avx2, dgemm2x2_avx2, dgemm3x2_avx2, dgemm4x2_avx2, dgemm5x2_avx2, dgemm6x2_avx2,
	},
	wide: [len(wideVectors)]tileKernel[float64]{1: dgemm1x8_avx2, dgemm2x4_avx2, dgemm3x4_avx2},
	pack: packer[float64]{bytes: 32, exact: packF64_avx2, convert: avx2Conversions, widen64: widen64_avx2},
	streams: map[source]stream[float64]{
		{stored: tensor.Float64}: {16, [FewRows]streamKernel[float64]{streamF64x1_avx2, streamF64x2_avx2, streamF64x3_avx2, streamF64x4_avx2}},
	},
}

var avx512Loops = &loops{
	name:       "avx512",
	add:        add_avx512,
	mul:        mul_avx512,
	scale:      scale_avx512,
	sum:        sum_avx512,
	sumSquares: sumSquares_avx512,
	max:        max_avx512,
	widenBF16:  widenBF16_avx512,
	widenF16:   widenF16_avx512,
	narrowBF16: narrowBF16_avx512,
	narrowF16:  narrowF16_avx512,
	roundBF16:  roundBF16_avx512,
	roundF16:   roundF16_avx512,
	exp2Scaled: exp2Scaled_avx512,
	silu:       silu_avx512,
}

var avx2Loops = &loops{
	name:       "avx2",
	add:        add_avx2,
	mul:        mul_avx2,
	scale:      scale_avx2,
	sum:        sum_avx2,
	sumSquares: sumSquares_avx2,
	max:        max_avx2,
	widenBF16:  widenBF16_avx2,
	widenF16:   widenF16_avx2,
	narrowBF16: narrowBF16_avx2,
	narrowF16:  narrowF16_avx2,
	roundBF16:  roundBF16_avx2,
	roundF16:   roundF16_avx2,
	exp2Scaled: exp2Scaled_avx2,
	silu:       silu_avx2,
}
