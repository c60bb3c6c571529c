package judge

import (
	"fmt"

	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// An engine may keep the residual stream in float32 beside modules in a half type:
// its norms take and return the sum without the rounding that others have.

// residual is the type in which one side (0 the reference, 1 the target) keeps the
// residual stream that a norm or a layer is given or returns, beside results of
// type beside; Invalid where the call does not tell.
func residual(c *pairing.Call, side int) (kept, beside tensor.DType) {
	if c.Of.Kind != topology.Norm && c.Of.Kind != topology.Layer {
		return tensor.Invalid, tensor.Invalid
	}
	for _, p := range c.Slots {
		if p.Result != nil && p.Direction == report.Outputs && (p.Slot == "" || p.Slot == "0") {
			beside = p.Result.DTypes[side]
		}
	}
	for _, p := range c.Slots {
		if t := p.Result; t != nil && t.DTypes[side].IsFloat() && t.DTypes[side].Size() > kept.Size() {
			kept = t.DTypes[side]
		}
	}
	return kept, beside
}

// wideResidual reports whether a side keeps the residual in float32 beside a half type.
func wideResidual(c *pairing.Call, side int) bool {
	kept, beside := residual(c, side)
	return kept == tensor.Float32 && beside.IsFloat() && beside.Size() == 2
}

// noteResidual tells once that the two sides keep the residual in other types.
func (j *noiseJudge) noteResidual(c *pairing.Call) {
	if j.residual || wideResidual(c, 0) == wideResidual(c, 1) {
		return
	}
	j.residual = true
	wide, other := "target", "reference"
	if wideResidual(c, 0) {
		wide, other = other, wide
	}
	_, beside := residual(c, 0)
	j.Warnings = append(j.Warnings, fmt.Sprintf("the %s keeps the residual stream in float32, the %s in %s: another rounding, no fault", wide, other, beside))
}
