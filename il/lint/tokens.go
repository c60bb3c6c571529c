package lint

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// tokens checks the input ids and positions of every forward.
func (l *linter) tokens() {
	if l.opts.NoValues {
		return
	}
	r := &reader{}
	before := math.MinInt
	for _, s := range l.steps {
		if l.ctx.Err() != nil {
			return
		}
		if ids := s.vector(func(c *callFacts) bool { return c.spec.Kind == topology.Embedding }); ids != nil {
			l.negativeIDs(ids)
		}
		pos := s.vector(func(c *callFacts) bool {
			return c.IsLayer() || c.spec.Kind == topology.Rope && c.Slot(il.Inputs, "2") != nil
		})
		if !s.forward() {
			continue
		}
		v, err := pos.ints()
		if err != nil || len(v) == 0 {
			before = math.MinInt
			continue
		}
		if row, why := r.step(v, before != s.number-1); row >= 0 {
			l.add(Warning, "position-jump", pos.call, pos, "%s: row %d is at position %d, but %s: a step is missing or was recorded twice, or the request's first tokens were computed elsewhere", pos.name(), row, v[row], why)
		}
		before = s.number
	}
}

// vector finds the first early input of the first call that matches and was read as
// a vector of integers.
func (s *stepFacts) vector(match func(*callFacts) bool) *fact {
	for _, c := range s.calls {
		if !match(c) {
			continue
		}
		for _, f := range c.facts {
			if f.slot.Direction == il.Inputs && slices.Contains(topology.PositionsSlots, f.slot.Path) && f.whole && f.dtype.IsInt() {
				return f
			}
		}
	}
	return nil
}

// ints reads a vector of the length of a step: 16,384 rows at most in vLLM.
func (f *fact) ints() (v []int, err error) {
	if f == nil || len(f.shape) != 1 || f.numel() > 1<<22 {
		return nil, nil
	}
	err = f.file.With(func(t *tensor.Tensor) error {
		v, err = t.Ints()
		return err
	})
	return v, err
}

func (l *linter) negativeIDs(f *fact) {
	n, first, value, at := 0, -1, int64(0), 0
	err := f.file.With(func(t *tensor.Tensor) error {
		var buf [4096]int64
		for ; at < t.Numel(); at += len(buf) {
			v := buf[:min(len(buf), t.Numel()-at)]
			if err := t.Int64s(v, at); err != nil {
				return err
			}
			for i, x := range v {
				if x < 0 && f.dtype != tensor.Uint64 {
					if n++; n == 1 {
						first, value = at+i, x
					}
				}
			}
		}
		return nil
	})
	if err == nil && n > 0 {
		l.add(Error, "negative-token-id", f.call, f, "%s: %s, the first %d in row %d: no token has it; the buffer was not filled when it was saved", f.name(), plural.Count(n, "negative id"), value, first)
	}
}

// reader follows requests from step to step by their positions.
type reader struct {
	lengths []length
	steps   int
}

// length is how many tokens of a request are computed, and in which step it
// ran last, from which position on.
type length struct{ tokens, step, start int }

// blockSize: cached prefixes have whole blocks of 16 tokens (vLLM's smallest
// on a GPU), so a request may begin at a multiple of it.
const blockSize = 16

// step reads one forward's positions, and returns the first row that continues
// no request, and why. loose says that steps before are not recorded. Padding
// rows are at position 0, where any request may begin.
func (r *reader) step(positions []int, loose bool) (row int, why string) {
	row = -1
	rows := len(positions)
	r.steps++
	taken := map[int]bool{}
	for i := 0; i < rows; {
		k := r.continues(positions[i], taken)
		if k < 0 {
			k = len(r.lengths)
			if p := positions[i]; row < 0 && p != 0 && !loose && (p < 0 || p%blockSize != 0) {
				row, why = i, r.expected(p)
			}
			r.lengths = append(r.lengths, length{})
		}
		taken[k] = true
		j := i + 1
		for j < rows && positions[j] == positions[j-1]+1 && r.continues(positions[j], taken) < 0 {
			j++
		}
		r.lengths[k] = length{positions[j-1] + 1, r.steps, positions[i]}
		i = j
	}
	return row, why
}

// continues finds the request of a length, of several the last that ran; or
// one of which the step before computed more rows than were kept (speculative
// decoding). -1 where there is none.
func (r *reader) continues(p int, taken map[int]bool) int {
	best := -1
	for k, x := range r.lengths {
		if p == 0 || taken[k] || x.tokens != p && !(x.step == r.steps-1 && x.start < p && p < x.tokens) {
			continue
		}
		if best < 0 || x.tokens == p && (r.lengths[best].tokens != p || x.step > r.lengths[best].step) {
			best = k
		}
	}
	return best
}

func (r *reader) expected(p int) string {
	if p < 0 {
		return "positions are never negative"
	}
	var ends []string
	for _, x := range r.lengths {
		if x.step >= r.steps-1 && len(ends) < 5 {
			ends = append(ends, fmt.Sprint(x.tokens))
		}
	}
	if len(ends) == 0 {
		return "no request has come that far"
	}
	return "the requests of the step before go on at " + strings.Join(ends, ", ")
}

// rows finds tensors of a step with another number of rows than its tokens.
func (l *linter) rows() {
	before, last := -1, math.MinInt // rows of the forward before
	for _, s := range l.steps {
		want, from := s.rowCount()
		if l.session.LogitsLag() == 0 { // they are of this forward
			before, last = want, s.number-1
		}
		for _, c := range s.calls {
			if c.spec.Kind == topology.Logits {
				if f := c.firstMatrix(); f != nil && last == s.number-1 && before >= 0 && len(f.shape) == 2 && f.shape[0] > before {
					l.add(Error, "row-count", c, f, "%s has %d rows, but the forward of step %d computed %d: files of two runs are mixed", f.name(), f.shape[0], s.number-l.session.LogitsLag(), before)
				}
			}
		}
		before, last = want, s.number
		if want < 0 {
			continue
		}
		n := 0
		var first *fact
		for _, c := range s.calls {
			for _, f := range c.facts {
				if f.perToken() && f.tokens() != want {
					if n++; n == 1 {
						first = f
					}
				}
			}
		}
		if n > 0 {
			l.add(Error, "row-count", first.call, first, "%s has %d rows, but step %d has %d by %s (%s in all differ): files of two runs or steps are mixed; record again into an empty directory",
				first.name(), first.tokens(), s.number, want, from, plural.Count(n, "tensor"))
		}
	}
}

// rowCount is the number of tokens of a step, and what tells it; -1 where it
// is not known, and for sessions with a batch dimension.
func (s *stepFacts) rowCount() (int, string) {
	votes := map[int]int{}
	first := map[int]*fact{}
	best := -1
	for _, c := range s.calls {
		for _, f := range c.facts {
			if !f.perToken() {
				continue
			}
			n := f.tokens()
			if votes[n]++; votes[n] == 1 {
				first[n] = f
			}
			if best < 0 || votes[n] > votes[best] || votes[n] == votes[best] && n == best {
				best = n
			}
		}
	}
	if best < 0 {
		return -1, ""
	}
	return best, fmt.Sprintf("%s and %d more", first[best].name(), votes[best]-1)
}

// perToken reports a tensor with one row a token: what vLLM's embedding, norms
// and layers take and return. Attention of vLLM alone has no batch dimension.
func (f *fact) perToken() bool {
	if f.err != nil || !f.isFloat() {
		return false
	}
	t := f.call.spec.Tensor(f.slot.Direction == il.Outputs, f.slot.Path)
	switch {
	case t == nil, len(t.Shape) == 0:
		return false
	case t.Shape[0] == topology.One && (len(f.shape) != 3 || f.shape[0] != 1 || t.Shape[1] != topology.T),
		t.Shape[0] != topology.One && (len(f.shape) != 2 || t.Shape[0] != topology.T):
		return false
	}
	return f.call.InDecoder() || f.call.Layer < 0 && !strings.Contains(f.call.Module, "vis")
}

// tokens is the number of rows of a tensor with one a token: behind a batch dimension of 1
// in vLLM's transformers backend.
func (f *fact) tokens() int { return f.shape[len(f.shape)-2] }

func (c *callFacts) firstMatrix() *fact {
	for _, f := range c.facts {
		if f.err == nil && len(f.shape) == 2 {
			return f
		}
	}
	return nil
}
