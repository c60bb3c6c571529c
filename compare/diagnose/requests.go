package diagnose

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ilref/ilref/topology"
)

// share is how the wrong rows are spread over the requests of a forward.
type share struct {
	wrong    []int // the requests of wrong rows
	requests int   // that the forward runs
	whole    bool  // of wrong requests every row is wrong
	tail     bool  // of wrong requests every row from the first wrong position on is wrong
	lo, hi   int   // the first and the last position of wrong rows
}

// share is empty where the rows are not known.
func (s *suspect) share() share {
	out := share{whole: true, tail: true}
	wrong := s.wrongRows()
	if s.tokens.Position == nil || len(wrong) == 0 {
		return out
	}
	rows, bad := map[int]int{}, map[int]int{} // by request: how many
	for _, r := range s.tokens.Request {
		if r >= 0 {
			rows[r]++
		}
	}
	out.lo = s.tokens.Position[wrong[0]]
	for _, i := range wrong {
		if r := s.tokens.Request[i]; r >= 0 {
			bad[r]++
		}
		out.lo, out.hi = min(out.lo, s.tokens.Position[i]), max(out.hi, s.tokens.Position[i])
	}
	out.requests = len(rows)
	for r, n := range bad {
		out.wrong = append(out.wrong, r)
		out.whole = out.whole && n == rows[r]
	}
	slices.Sort(out.wrong)
	for i, p := range s.tokens.Position {
		if bad[s.tokens.Request[i]] > 0 && p > out.lo && !s.wrongRow(i) {
			out.tail = false
		}
	}
	return out
}

// some reports whether some requests are wrong and others right.
func (h share) some() bool { return len(h.wrong) > 0 && len(h.wrong) < h.requests }

// String names the requests that are wrong, those that are right and the
// positions: "only request 5 of 12 is wrong, at position 20, the others are right".
func (h share) String() string {
	at := fmt.Sprintf("at positions %d to %d", h.lo, h.hi)
	switch {
	case h.lo == h.hi:
		at = fmt.Sprintf("at position %d", h.lo)
	case h.whole:
	case h.tail:
		at = fmt.Sprintf("from position %d on", h.lo)
	default:
		at = fmt.Sprintf("between positions %d and %d", h.lo, h.hi)
	}
	names := make([]string, len(h.wrong))
	for i, r := range h.wrong {
		names[i] = strconv.Itoa(r)
	}
	switch {
	case len(h.wrong) == 1:
		return fmt.Sprintf("only request %s of %d is wrong, %s, and %s right", names[0], h.requests, at, h.others())
	case len(names) > 8:
		return fmt.Sprintf("%d of %d requests are wrong, the first request %s, %s, and %s right", len(names), h.requests, names[0], at, h.others())
	}
	return fmt.Sprintf("only requests %s and %s of %d are wrong, %s, and %s right", strings.Join(names[:len(names)-1], ", "), names[len(names)-1], h.requests, at, h.others())
}

func (h share) others() string {
	if n := h.requests - len(h.wrong); n > 1 {
		return fmt.Sprintf("the other %d are", n)
	}
	return "the other is"
}

// ofRequests is about attention that is wrong for some requests of a batch.
func (s *suspect) ofRequests() string {
	if s.Of.Kind != topology.Attention {
		return ""
	}
	h := s.share()
	if !h.some() || !s.wasClean && s.byPosition() {
		return ""
	}
	what := "the kv cache of single requests (block tables, slots, blocks of another request that a hash took for theirs, or the merge of cached and new keys)"
	if h.lo == 0 {
		what = "what attention is told of single requests (where their rows begin, how long they are)"
	}
	return what + ": " + h.String()
}

// byPosition reports whether all right rows lie at positions before all wrong
// ones, so that the position decides and not the request.
func (s *suspect) byPosition() bool {
	first, last := -1, -1 // wrong, right
	for i, p := range s.tokens.Position {
		switch {
		case !s.wrongRow(i):
			last = max(last, p)
		case first < 0 || p < first:
			first = p
		}
	}
	return last < first
}

// rowRange is about neighbouring rows, whosever they are: what a kernel does of
// the rows of a tile, or a buffer holds.
func (s *suspect) rowRange() string {
	wrong := s.wrongRows()
	n := len(wrong)
	if s.rows < 8 || n < 2 || n == s.rows || wrong[n-1]-wrong[0] != n-1 || !s.clearRows() {
		return ""
	}
	h := s.share()
	positional := s.Of.Kind == topology.Attention || s.Of.Kind == topology.Rope
	if positional && h.requests < 2 || h.some() && h.whole || zero(s.t[wrong[0]*s.cols:(wrong[0]+1)*s.cols]) {
		return ""
	}
	where := fmt.Sprintf("only rows %d to %d of %d are wrong", wrong[0], wrong[n-1], s.rows)
	switch {
	case wrong[n-1] == s.rows-1:
		where = fmt.Sprintf("only the rows from %d on, of %d, are wrong", wrong[0], s.rows)
	case wrong[0] == 0:
		where = fmt.Sprintf("only the first %d rows of %d are wrong", n, s.rows)
	}
	return fmt.Sprintf("a range of rows (a tile of the kernel, or a buffer of so many rows): %s, the others are within rounding", where)
}

// clearRows reports whether the least of the wrong rows is well beyond the
// worst of the others, so that chance did not choose them.
func (s *suspect) clearRows() bool {
	least, most := math.Inf(1), 0.0
	for i, e := range s.row {
		if s.wrongRow(i) {
			least = min(least, e)
		} else {
			most = max(most, e)
		}
	}
	return least > 2*most
}

// singleRequests is about the rows of some requests where nothing more is known.
func (s *suspect) singleRequests() string {
	h := s.share()
	if !h.some() || !h.whole {
		return ""
	}
	return "what is of single requests (an adapter of their own, or where their rows lie): " + h.String()
}
