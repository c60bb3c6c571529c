//go:build !noasm && !purego && !safe

package kernel

import "github.com/ilref/ilref/tensor"

// Every arm64 CPU has NEON with fused multiply-add.
func init() {
	simd32, simd64, simdLoops = append(simd32, neonf32), append(simd64, neonf64), append(simdLoops, neonLoops)
}

var neonConversions = map[source]packKernel{
	{stored: tensor.Float32}:          packF32_neon,
	{stored: tensor.BFloat16}:         packBF16_neon,
	{stored: tensor.Float16}:          packF16_neon,
	{stored: tensor.Float8E5M2}:       packE5M2_neon,
	{stored: tensor.Float8E4M3FN}:     packE4M3_neon,
	{tensor.Float32, tensor.BFloat16}: packF32ToBF16_neon,
	{tensor.Float32, tensor.Float16}:  packF32ToF16_neon,
}

// A vector is a pair of registers.
var neonf32 = &simd[float32]{
	name: "neon", lanes: 8, rows: 6, blocking: shortPanels,
	narrow: [maxRows + 1]tileKernel[float32]{
		1: sgemm1x2_neon, sgemm2x2_neon, sgemm3x2_neon, sgemm4x2_neon, sgemm5x2_neon, sgemm6x2_neon,
	},
	wide: [len(wideVectors)]tileKernel[float32]{1: sgemm1x8_neon, sgemm2x4_neon, sgemm3x4_neon},
	pack: packer[float32]{bytes: 32, exact: packF32_neon, convert: neonConversions},
	dots: map[source]dotKernel[float32]{
		{stored: tensor.Float32}:          dotF32_neon,
		{stored: tensor.BFloat16}:         dotBF16_neon,
		{stored: tensor.Float16}:          dotF16_neon,
		{stored: tensor.Float8E5M2}:       dotE5M2_neon,
		{stored: tensor.Float8E4M3FN}:     dotE4M3_neon,
		{tensor.Float32, tensor.BFloat16}: dotF32ToBF16_neon,
		{tensor.Float32, tensor.Float16}:  dotF32ToF16_neon,
	},
}

var neonf64 = &simd[float64]{
	name: "neon", lanes: 4, rows: 6, blocking: shortPanels,
	narrow: [maxRows + 1]tileKernel[float64]{
		1: dgemm1x2_neon, dgemm2x2_neon, dgemm3x2_neon, dgemm4x2_neon, dgemm5x2_neon, dgemm6x2_neon,
	},
	wide: [len(wideVectors)]tileKernel[float64]{1: dgemm1x8_neon, dgemm2x4_neon, dgemm3x4_neon},
	pack: packer[float64]{bytes: 32, exact: packF64_neon, convert: neonConversions, widen64: widen64_neon},
	dots: map[source]dotKernel[float64]{{stored: tensor.Float64}: dotF64_neon},
}

var neonLoops = &loops{
	name:       "neon",
	add:        add_neon,
	mul:        mul_neon,
	scale:      scale_neon,
	sum:        sum_neon,
	sumSquares: sumSquares_neon,
	max:        max_neon,
	widenBF16:  widenBF16_neon,
	widenF16:   widenF16_neon,
	narrowBF16: narrowBF16_neon,
	narrowF16:  narrowF16_neon,
	roundBF16:  roundBF16_neon,
	roundF16:   roundF16_neon,
	exp2Scaled: exp2Scaled_neon,
	silu:       silu_neon,
}
