package requests

import (
	"slices"

	"github.com/ilref/ilref/il"
)

// Rows is what the rows of a forward pass are, one element a row.
type Rows struct {
	Step     int   // the number of its directory
	Request  []int // in order of appearance, as in a Plan; -1 for padding
	Position []int
}

// Layout reads the rows of every forward pass as Read does. It needs no tokens
// but those that tell padding, so it also reads sessions that cannot be re-run:
// of a filtered one, or of requests that began before it.
func Layout(s *il.Session) ([]Rows, error) {
	steps, err := readRows(s)
	if err != nil {
		return nil, err
	}
	p := &planner{Plan: &Plan{Dir: s.Dir}}
	var out []Rows
	for i, rec := range steps {
		r := Rows{Step: rec.step, Position: rec.positions}
		var chunks []Chunk
		for k, sp := range p.spans(i, rec, rowsOf(rec)) {
			if sp.request == len(p.requests) {
				p.requests = append(p.requests, &tracked{last: -1})
			}
			p.requests[sp.request].ran(rec, sp, place{i, k})
			rows := rec.positions[sp.lo:sp.hi]
			chunks = append(chunks, Chunk{Request: sp.request, Start: rows[0], IDs: rows}) // their number alone is asked for
			r.Request = append(r.Request, slices.Repeat([]int{sp.request}, len(rows))...)
		}
		p.noteDrafts(chunks, rec.logits)
		for len(r.Request) < len(r.Position) {
			r.Request = append(r.Request, -1)
		}
		out = append(out, r)
	}
	return out, nil
}
