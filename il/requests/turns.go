package requests

import (
	"math"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// positionsElsewhere finds positions that no module was given by position: in what the
// session says of its requests, or in what they turn by; nil where neither tells them.
func positionsElsewhere(s *il.Session, st *il.Step, ids []int) []int {
	if at := positionsOfTurns(st); at != nil && (ids == nil || len(ids) == len(at)) {
		return at
	}
	b := s.Batch(st.Number)
	if b == nil || ids == nil || b.Tokens() != len(ids) {
		return nil
	}
	var out []int
	for i, n := range b.NumTokens {
		for k := range n {
			out = append(out, b.NumComputed[i]+k)
		}
	}
	return out
}

// maxTurned is the last position that is looked for; angleOff how far the angle of a cosine
// and a sine in float32 may be off. Angles of two positions below maxTurned are farther apart: 710
// is within 6e-5 of a multiple of 2 pi.
const (
	maxTurned = 1 << 16
	angleOff  = 1e-5
)

// positionsOfTurns reads the positions of a forward out of the cosines and sines that
// transformers' rotary embedding returned in float32, where it is given positions by keyword
// (OLMo-2 in vLLM's transformers backend): the first pair turns by the position itself. nil
// where that cannot be told.
func positionsOfTurns(st *il.Step) []int {
	var turns [2][]float64
	for _, c := range st.Calls {
		if c.Module != topology.RotaryEmbName {
			continue
		}
		for i, path := range []string{"0", "1"} {
			if s := c.Slot(il.Outputs, path); s != nil && len(s.Tensors) > 0 {
				turns[i] = firstColumn(s.Tensors[0])
			}
		}
	}
	cos, sin := turns[0], turns[1]
	if len(cos) == 0 || len(cos) != len(sin) {
		return nil
	}
	out := make([]int, len(cos))
	at := -1
	for i := range cos {
		angle := math.Atan2(sin[i], cos[i])
		if !turnedBy(at+1, angle) {
			for at = 0; at < maxTurned && !turnedBy(at, angle); at++ {
			}
			if at == maxTurned {
				return nil
			}
			at--
		}
		at++
		out[i] = at
	}
	return out
}

// turnedBy reports whether a position has an angle.
func turnedBy(position int, angle float64) bool {
	return math.Abs(math.Remainder(float64(position)-angle, 2*math.Pi)) < angleOff
}

// firstColumn reads the first value of each row of (1, T, D) or (T, D) in float32 or float64.
func firstColumn(f *il.TensorFile) []float64 {
	var out []float64
	_ = f.With(func(t *tensor.Tensor) error {
		if len(t.Shape) < 2 || t.Meta || t.DType != tensor.Float32 && t.DType != tensor.Float64 || t.Numel() > maxRows || t.Shape[len(t.Shape)-1] == 0 {
			return nil
		}
		v := make([]float64, t.Numel())
		if err := t.Float64s(v, 0); err != nil {
			return err
		}
		for i := 0; i < len(v); i += t.Shape[len(t.Shape)-1] {
			out = append(out, v[i])
		}
		return nil
	})
	return out
}
