package normalize

import (
	"fmt"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// shift renumbers the steps of a session.
func shift(s *il.Session, offset int) (*il.Session, error) {
	var steps []*il.Step
	for _, st := range s.Steps {
		n := st.Number + offset
		if n < 0 {
			return nil, fmt.Errorf("%s: step %d with a step offset of %d is below step 0", s.Dir, st.Number, offset)
		}
		steps = append(steps, &il.Step{Number: n, Calls: st.Calls})
	}
	return derive(s, steps), nil
}

// alignSteps finds a step offset for sessions whose rows cannot be read back
// into requests: the one by which the first forwards that ran the same tokens
// at the same positions lie apart, if all that both hold then agree.
func alignSteps(ref, target *il.Session) (r, t *il.Session, ok bool) {
	a, b := tokensOf(ref), tokensOf(target)
	if len(a) == 0 || len(b) == 0 {
		return nil, nil, false
	}
	offset := firstStep(a) - firstStep(b)
	if offset == 0 {
		return nil, nil, false
	}
	for n, x := range b {
		if y, held := a[n+offset]; held && !x.agrees(y) {
			return nil, nil, false
		}
	}
	t, err := shift(target, offset)
	return ref, t, err == nil
}

func firstStep(m map[int]tokens) int {
	first := -1
	for n := range m {
		if first < 0 || n < first {
			first = n
		}
	}
	return first
}

// tokens is what a forward says of its rows; nil is not recorded.
type tokens struct{ ids, positions []int }

// agrees reports whether what both sides recorded is the same.
func (x tokens) agrees(y tokens) bool {
	both := func(a, b []int) bool { return a != nil && b != nil }
	return (both(x.ids, y.ids) || both(x.positions, y.positions)) &&
		(!both(x.ids, y.ids) || slices.Equal(x.ids, y.ids)) &&
		(!both(x.positions, y.positions) || slices.Equal(x.positions, y.positions))
}

func (x tokens) rows() int { return max(len(x.ids), len(x.positions)) }

// tokensOf reads the token ids and positions of every forward.
func tokensOf(s *il.Session) map[int]tokens {
	out := map[int]tokens{}
	for _, st := range s.Steps {
		var x tokens
		for _, c := range st.Calls {
			switch {
			case topology.Of(c.Module).Kind == topology.Embedding && x.ids == nil:
				x.ids = integers(c.Slot(il.Inputs, "0"))
			case topology.Locate(c.Module).IsLayer() && x.positions == nil:
				x.positions = integers(c.Positions())
			}
		}
		if x.rows() > 0 {
			out[st.Number] = x
		}
	}
	return out
}

// integers reads an integer tensor, nil where there is none.
func integers(s *il.Slot) []int {
	if s == nil || len(s.Tensors) == 0 {
		return nil
	}
	var out []int
	_ = s.Tensors[0].With(func(t *tensor.Tensor) (err error) {
		if t.DType.IsInt() && copyable(t) == nil {
			out, err = t.Ints()
		}
		return err
	})
	return out
}

// otherRows reports whether the sessions have no step in common, or ran other
// numbers of rows in one.
func otherRows(ref, target *il.Session) bool {
	a, b := tokensOf(ref), tokensOf(target)
	common := false
	for n, x := range a {
		y, ok := b[n]
		common = common || ok
		if ok && x.rows() != y.rows() {
			return true
		}
	}
	return len(a) > 0 && len(b) > 0 && !common
}
