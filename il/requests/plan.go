// Package requests reads the rows of a session's forward passes back into
// requests, by their positions: a session records tokens and positions, but
// not whose they are.
package requests

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ilref/ilref/il"
)

// Plan is a session's forward passes, cut into requests: what to compute to
// get the same session again, with the session's own tokens.
type Plan struct {
	Steps []Step

	Dir string // of the session

	histories []*history
}

// Step is one forward pass.
type Step struct {
	Number int
	Chunks []Chunk
}

// Chunk is consecutive rows of one request.
type Chunk struct {
	Request int   // requests are numbered in order of appearance; -1 for a padding row
	Start   int   // position of the first row
	History []int // the tokens before Start, where no earlier step of the plan computes them
	IDs     []int // one a row
	Sample  bool  // a row of logits was recorded for it: of its last row

	// Speculative decoding:
	Drafts   int // rows before the last that have logits too
	Rejected int // last rows that were thrown away: a later step runs their positions again
}

// history is a request whose tokens the user gave.
type history struct {
	ids  []int
	used bool
}

// planner follows the requests of a session from step to step.
type planner struct {
	*Plan
	open     bool // requests may begin with tokens that nothing tells
	requests []*tracked
}

type tracked struct {
	len      int  // tokens computed before the step
	last     int  // the index of the step that computed it last, -1 for none
	known    bool // the tokens before the step are known
	decoding bool // its prompt is over
	history  *history
	chunk    place // of the last rows
	start    int   // their first position
	ids      []int // their tokens
}

// place is a chunk of a plan.
type place struct{ step, chunk int }

// Read works out which rows of a session belong to which request: by what the session
// says of them (batches.jsonl), where that is what it recorded, else by their positions.
//
// A row continues the request whose length equals its position, among equals
// one that ran in the step before, then the lowest; position 0 starts one. A
// run of token 0 at position 0 at the end of a step is padding. Where two
// readings are possible, the recorded number of logits rows decides. A row
// inside what its request ran last, with another token, replaces draft tokens
// that speculative decoding rejected.
//
// histories supply what the session does not hold: the tokens of requests that
// began before its first step, or all tokens where it recorded none.
func Read(s *il.Session, histories [][]int) (*Plan, error) {
	steps, err := readRows(s)
	if err != nil {
		return nil, err
	}
	return newPlan(s.Dir, steps, histories, false)
}

// ReadRows is Read of a session that need not hold its requests from their
// start: such a request begins at a Start above 0 without a History. It tells
// whose the rows are, which is not enough to run them again.
func ReadRows(s *il.Session) (*Plan, error) {
	steps, err := readRows(s)
	if err != nil {
		return nil, err
	}
	return newPlan(s.Dir, steps, nil, true)
}

func newPlan(dir string, steps []recorded, histories [][]int, open bool) (*Plan, error) {
	p := &planner{Plan: &Plan{Dir: dir}, open: open}
	for _, ids := range histories {
		p.histories = append(p.histories, &history{ids: ids})
	}
	for i, rec := range steps {
		st, err := p.step(i, rec)
		if err != nil {
			return nil, fmt.Errorf("%s: step_%d: %w", dir, rec.step, err)
		}
		p.Steps = append(p.Steps, st)
	}
	if err := p.markSampled(steps); err != nil && !open { // whose the rows are is known all the same
		return nil, err
	}
	for i, h := range p.histories {
		if !h.used {
			return nil, fmt.Errorf("%s: prompt %d given by --prompt-ids fits no request of the session", dir, i)
		}
	}
	return p.Plan, nil
}

func (p *planner) step(index int, rec recorded) (Step, error) {
	rows := rowsOf(rec)
	out := Step{Number: rec.step}
	for i, sp := range p.spans(index, rec, rows) {
		c := Chunk{Request: sp.request, Start: rec.positions[sp.lo], Sample: true}
		if sp.request == len(p.requests) {
			p.requests = append(p.requests, &tracked{len: c.Start, last: -1})
		}
		r := p.requests[sp.request]
		var err error
		if c.IDs, err = p.ids(rec, sp, c.Start); err != nil {
			return out, err
		}
		switch {
		case r.last >= 0:
			p.reject(r, r.len-c.Start)
		case r.history != nil && c.Start > 0:
			c.History = r.history.ids[:c.Start]
		}
		r.ran(rec, sp, place{index, i})
		r.ids = c.IDs
		out.Chunks = append(out.Chunks, c)
	}
	p.noteDrafts(out.Chunks, rec.logits)
	for i := rows; i < len(rec.positions); i++ {
		id := 0
		if rec.ids != nil {
			id = rec.ids[i]
		}
		out.Chunks = append(out.Chunks, Chunk{Request: -1, IDs: []int{id}})
	}
	return out, nil
}

// ran takes in the rows that a request ran in a step.
func (r *tracked) ran(rec recorded, sp span, at place) {
	start := rec.positions[sp.lo]
	r.decoding = r.decoding || r.last >= 0 && (sp.hi-sp.lo == 1 || r.len > start)
	r.len, r.last, r.start, r.chunk, r.ids = rec.positions[sp.hi-1]+1, at.step, start, at, nil
	if rec.ids != nil {
		r.ids = rec.ids[sp.lo:sp.hi]
	}
}

// padding counts the rows at the end of a step that are token 0 at position 0:
// at least two, or one where that leaves a row of logits for each request.
func padding(rec recorded) int {
	if rec.ids == nil {
		return 0
	}
	n := 0
	for i := len(rec.ids) - 1; i >= 0 && rec.ids[i] == 0 && rec.positions[i] == 0; i-- {
		n++
	}
	starts := 0
	for i, pos := range rec.positions {
		if i == 0 || pos != rec.positions[i-1]+1 {
			starts++
		}
	}
	if n == len(rec.ids) || n == 1 && rec.logits != starts-1 {
		return 0
	}
	return n
}

// ids returns the tokens of a span, from the session or from the histories,
// after finding the history of a request that the session does not hold from
// its start.
func (p *planner) ids(rec recorded, sp span, start int) ([]int, error) {
	var ids []int
	if rec.ids != nil {
		ids = rec.ids[sp.lo:sp.hi]
	}
	r, end := p.requests[sp.request], start+sp.hi-sp.lo
	if r.last < 0 {
		r.history = p.claim(start, end, ids)
	}
	r.known = r.known || r.history != nil || start == 0 && ids != nil
	switch {
	case ids != nil && (r.known || p.open):
		return ids, nil
	case ids != nil:
		return nil, fmt.Errorf("row %d starts at position %d, but the session does not hold the tokens before it (an earlier step was not logged, or a prefix was cached): %w",
			sp.lo, start, errHistory)
	case r.history == nil:
		return nil, fmt.Errorf("the session holds no tokens (model.embed_tokens was not logged): %w", errHistory)
	case end > len(r.history.ids):
		return nil, fmt.Errorf("row %d is position %d, but a prompt given by --prompt-ids has %d tokens: give the generated ones too", sp.lo, end-1, len(r.history.ids))
	}
	return r.history.ids[start:end], nil
}

var errHistory = errors.New("give the request's tokens from position 0 with --prompt-ids of ilref run or ilref replay (once a request)")

// claim takes the first unused history that reaches a request's first position
// and does not contradict its tokens.
func (p *planner) claim(start, end int, ids []int) *history {
	for _, h := range p.histories {
		if h.used || len(h.ids) < start || ids == nil && len(h.ids) < end {
			continue
		}
		n := min(end, len(h.ids))
		if ids == nil || slices.Equal(ids[:n-start], h.ids[start:n]) {
			h.used = true
			return h
		}
	}
	return nil
}
