package requests

import (
	"cmp"
	"fmt"
	"slices"
)

// progress is how far a request is.
type progress int

const (
	inPrompt    progress = iota
	lastOfShort          // its last chunk was shorter than the one before: the prompt's end?
	decoding             // its prompt is over
)

// markSampled finds the rows that the logits of every step are of, once it is
// known which rows later steps threw away.
func (p *planner) markSampled(steps []recorded) error {
	at, rows := map[int]progress{}, map[int]int{} // by request
	for i, rec := range steps {
		var chunks []*Chunk
		for k := range p.Steps[i].Chunks {
			if c := &p.Steps[i].Chunks[k]; c.Request >= 0 {
				chunks = append(chunks, c)
				if c.Rejected > 0 {
					at[c.Request] = decoding
				}
			}
		}
		if err := markLogits(chunks, rec.logits, at); err != nil {
			return fmt.Errorf("%s: step_%d: %w", p.Dir, rec.step, err)
		}
		for _, c := range chunks {
			switch {
			case c.Drafts > 0 || len(c.IDs) == 1:
				at[c.Request] = decoding
			case len(c.IDs) < rows[c.Request]:
				at[c.Request] = max(at[c.Request], lastOfShort)
			}
			rows[c.Request] = len(c.IDs)
		}
	}
	return nil
}

// noteDrafts tells the requests of a step whose prompt is over by the rows of
// logits, as far as the steps until then tell.
func (p *planner) noteDrafts(chunks []Chunk, logits int) {
	var copies []*Chunk
	at := map[int]progress{}
	for _, c := range chunks {
		copies = append(copies, &c)
		if p.requests[c.Request].decoding {
			at[c.Request] = decoding
		}
	}
	if markLogits(copies, logits, at) != nil {
		return
	}
	for _, c := range copies {
		p.requests[c.Request].decoding = at[c.Request] == decoding || c.Drafts > 0
	}
}

// markLogits finds the rows that so many rows of logits are of; -1 is not
// recorded.
func markLogits(chunks []*Chunk, logits int, at map[int]progress) error {
	switch {
	case logits < 0 || logits == len(chunks):
		return nil
	case logits > len(chunks):
		return markDrafts(chunks, logits, at)
	}
	// Runners that skip the logits of unfinished prompts: those are the longest chunks.
	order := byLength(chunks)
	slices.Reverse(order)
	for _, i := range order[:len(chunks)-logits] {
		chunks[i].Sample = false
	}
	return nil
}

// markDrafts finds the chunks of which every row has logits, as those of
// speculative decoding have: those of requests whose prompt is over, then the
// shorter ones, for the longer may be chunks of a prompt.
func markDrafts(chunks []*Chunk, logits int, at map[int]progress) error {
	var order []int
	for _, i := range byLength(chunks) {
		if c := chunks[i]; c.Start > 0 && len(c.IDs) > 1 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(at[chunks[b].Request], at[chunks[a].Request]) })
	failed := map[[2]int]bool{} // that so many chunks on have not so many drafts
	var fill func(k, more int) bool
	fill = func(k, more int) bool {
		switch {
		case more == 0:
			return true
		case more < 0 || k == len(order) || failed[[2]int{k, more}]:
			return false
		}
		c := chunks[order[k]]
		if drafts := len(c.IDs) - 1; fill(k+1, more-drafts) {
			c.Drafts = drafts
			return true
		}
		failed[[2]int{k, more}] = !fill(k+1, more)
		return !failed[[2]int{k, more}]
	}
	if !fill(0, logits-len(chunks)) {
		return fmt.Errorf("%d rows of logits for %d requests, which are not those of draft tokens of speculative decoding: prompt logprobs cannot be re-run; record the session without them", logits, len(chunks))
	}
	return nil
}

// byLength orders the chunks, the longest last and, among equals, the first last.
func byLength(chunks []*Chunk) []int {
	order := make([]int, len(chunks))
	for i := range order {
		order[i] = len(chunks) - 1 - i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(chunks[a].IDs) - len(chunks[b].IDs) })
	return order
}
