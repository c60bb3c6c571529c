package requests

import (
	"fmt"
	"path/filepath"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/provenance"
)

// Contradicted tells that what a session says of its requests (batches.jsonl) is not
// what it recorded, so that they are told by their positions; "" where it is, or where
// it says nothing.
func Contradicted(s *il.Session) string {
	if !s.HasBatches() {
		return ""
	}
	steps, err := readSteps(s)
	if err != nil {
		return "" // whoever needs the rows says so
	}
	if err := takeBatches(s, steps); err != nil {
		return fmt.Sprintf("%s: %v: requests are told by their positions instead", filepath.Join(s.Dir, provenance.BatchesName), err)
	}
	return ""
}

// takeBatches tells the rows of the steps by what the session says of its requests, if
// that holds of all of them: a request that one reading finds is none in the other.
func takeBatches(s *il.Session, steps []recorded) error {
	f := follower{at: map[string]*followed{}}
	said := make([][]span, len(steps))
	for i, rec := range steps {
		b := s.Batch(rec.step)
		if b == nil {
			return fmt.Errorf("says nothing of step_%d", rec.step)
		}
		var err error
		if said[i], err = f.spans(b, rec); err != nil {
			return fmt.Errorf("step_%d: %w", rec.step, err)
		}
	}
	for i := range steps {
		steps[i].said = said[i]
	}
	return nil
}

// follower numbers the requests of a session by their names.
type follower struct {
	at   map[string]*followed
	next int
}

// followed is a request: its number, and the rows that it ran last.
type followed struct{ number, start, end int }

// spans are the rows of a step, if they are those that were recorded.
func (f *follower) spans(b *provenance.Batch, rec recorded) ([]span, error) {
	rows := len(rec.positions)
	if n := b.Tokens(); n != rows && b.PaddedTokens != rows {
		return nil, fmt.Errorf("%d tokens in %d rows are said, %d rows were recorded", n, max(n, b.PaddedTokens), rows)
	}
	out := []span{} // not nil: said
	seen := map[string]bool{}
	lo := 0
	for i, id := range b.ReqIDs {
		n, start := b.NumTokens[i], b.NumComputed[i]
		if n == 0 {
			continue
		}
		if seen[id] {
			return nil, fmt.Errorf("request %.60q stands twice", id)
		}
		seen[id] = true
		for k := range n {
			if got := rec.positions[lo+k]; got != start+k {
				return nil, fmt.Errorf("row %d is said to be position %d of request %.60q, position %d was recorded", lo+k, start+k, id, got)
			}
		}
		out = append(out, span{f.number(id, start, start+n), lo, lo + n})
		lo += n
	}
	return out, nil
}

// number is that of the request whose rows these are. One that begins anew, after it
// was preempted, or behind rows that were not recorded, is another.
func (f *follower) number(id string, start, end int) int {
	r := f.at[id]
	if r == nil || start <= r.start || start > r.end {
		r = &followed{number: f.next}
		f.next++
		f.at[id] = r
	}
	r.start, r.end = start, end
	return r.number
}
