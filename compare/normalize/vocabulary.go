package normalize

import (
	"fmt"
	"io"
	"math"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// A head has more rows than its vocabulary has tokens where that makes a matrix
// product or its spread over ranks even: vLLM fills up to a multiple of 64 (of 64
// times the ranks) and may add 256 for adapters, others to one of 8, 32, 128 or
// 256. The logits of these rows are padding: no token has them.
const (
	paddedTo    = 8   // the least multiple that padding ends at
	mostPadding = 512 // columns: 64 on each of 8 ranks, or adapters and what fills up
)

// Vocabulary is how many columns the logits of a session have, 0 where it records
// none.
func Vocabulary(s *il.Session) int {
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			for _, slot := range c.Slots {
				if !isLogits(c, slot) {
					continue // before its file is opened
				}
				if n := lastOf(slot); n > 0 {
					return n
				}
			}
		}
	}
	return 0
}

func isLogits(c *il.Call, s *il.Slot) bool {
	return topology.Of(c.Module).Kind.IsHead() && s.Direction == il.Outputs
}

// isPadded reports whether logits of so many columns may be those of a vocabulary
// and its padding.
func isPadded(vocabulary, columns int) bool {
	extra := columns - vocabulary
	return extra > 0 && extra <= mostPadding && extra < vocabulary && columns%paddedTo == 0
}

// commonVocabulary takes the padding from the logits of the side that has it; of
// both where the evidence, of evidence columns (0 for none), does not.
func commonVocabulary(ref, target *il.Session, evidence int) (r, t *il.Session, warnings []string) {
	a, b := Vocabulary(ref), Vocabulary(target)
	if a == 0 || b == 0 || a == b && evidence == 0 {
		return ref, target, nil
	}
	n := min(a, b)
	if evidence > 0 {
		n = min(n, evidence)
	}
	r, t = ref, target
	if isPadded(n, a) {
		warnings = append(warnings, "reference: "+describePadding(ref, n, a))
		r = withoutPadding(ref, n, a)
	}
	if isPadded(n, b) {
		warnings = append(warnings, "target: "+describePadding(target, n, b))
		t = withoutPadding(target, n, b)
	}
	return r, t, warnings
}

// withoutPadding keeps the first n columns of logits that have so many.
func withoutPadding(s *il.Session, n, columns int) *il.Session {
	var steps []*il.Step
	for _, st := range s.Steps {
		out := &il.Step{Number: st.Number}
		for _, c := range st.Calls {
			if topology.Of(c.Module).Kind.IsHead() {
				var slots []*il.Slot
				for _, slot := range c.Slots {
					if isLogits(c, slot) && len(slot.Tensors) > 0 {
						slot = firstColumns(slot, n, columns)
					}
					slots = append(slots, slot)
				}
				c = withSlots(c, slots)
			}
			out.Calls = append(out.Calls, c)
		}
		steps = append(steps, out)
	}
	return derive(s, steps)
}

func firstColumns(s *il.Slot, n, columns int) *il.Slot {
	out := &il.Slot{Direction: s.Direction, Path: s.Path}
	for _, f := range s.Tensors {
		out.Tensors = append(out.Tensors, il.VirtualTensor(f.Device, f.File, func() (*tensor.Tensor, io.Closer, error) {
			t, c, err := f.Open()
			if last := lastDim(t); err == nil && last >= 0 && t.Shape[last] == columns {
				t = t.Narrow(last, 0, n)
			}
			return t, c, err
		}))
	}
	return out
}

func lastDim(t *tensor.Tensor) int {
	if t == nil {
		return -1
	}
	return len(t.Shape) - 1
}

// describePadding says what the columns from n on hold.
func describePadding(s *il.Session, n, columns int) string {
	p := paddedVocabulary{least: math.Inf(1), most: math.Inf(-1)}
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			for _, slot := range c.Slots {
				if isLogits(c, slot) {
					for _, f := range slot.Tensors {
						_ = f.With(func(t *tensor.Tensor) error { return p.add(t, n, columns) }) // what cannot be read is told by whoever compares it
					}
				}
			}
		}
	}
	return fmt.Sprintf("the logits have %d columns, of which the last %d are padding of the vocabulary and are not compared (%s)%s", columns, columns-n, p.values(), p.wins())
}

// paddedVocabulary is what columns of padding hold.
type paddedVocabulary struct {
	finite, masked, other int // other are NaN and +Inf
	least, most           float64
	rows, won             int // won are those whose largest logit is padding
}

// add looks at a tensor of logits.
func (p *paddedVocabulary) add(t *tensor.Tensor, n, columns int) error {
	last := lastDim(t)
	if last < 1 || t.Shape[last] != columns {
		return nil
	}
	tokens, rest := t.Narrow(last, 0, n), t.Narrow(last, n, columns)
	a, b := make([]float64, n), make([]float64, columns-n)
	for row := range product(t.Shape[:last]) {
		if err := rest.Float64s(b, row*len(b)); err != nil {
			return err
		}
		p.rows++
		if most := p.count(b); most > math.Inf(-1) {
			if err := tokens.Float64s(a, row*n); err != nil {
				return err
			}
			if most > largest(a) {
				p.won++
			}
		}
	}
	return nil
}

// count takes in the padding of a row and returns its largest value.
func (p *paddedVocabulary) count(row []float64) float64 {
	most := math.Inf(-1)
	for _, x := range row {
		switch {
		case math.IsInf(x, -1):
			p.masked++
		case math.IsInf(x, 1) || x != x:
			p.other++
		default:
			p.finite++
			p.least, p.most = min(p.least, x), max(p.most, x)
		}
		if x > most {
			most = x
		}
	}
	return most
}

func largest(v []float64) float64 {
	most := math.Inf(-1)
	for _, x := range v {
		if x > most {
			most = x
		}
	}
	return most
}

// values writes what the padding holds.
func (p *paddedVocabulary) values() string {
	finite := fmt.Sprintf("finite values from %.3g to %.3g", p.least, p.most)
	if p.least == p.most {
		finite = fmt.Sprintf("all %.3g", p.most)
	}
	switch {
	case p.finite+p.masked+p.other == 0:
		return "of values that cannot be read"
	case p.masked+p.other == 0:
		return finite
	case p.finite+p.other == 0:
		return "all -Inf"
	}
	return fmt.Sprintf("%d finite values, %d of -Inf, %d of NaN or +Inf", p.finite, p.masked, p.other)
}

// wins warns of padding that a sampler would choose.
func (p *paddedVocabulary) wins() string {
	if p.won == 0 {
		return ""
	}
	return fmt.Sprintf("; in %d of %d rows the largest logit is padding, which a sampler that does not mask it would choose", p.won, p.rows)
}
