package requests

import (
	"fmt"
	"slices"
)

// markSampled finds the rows that the logits of a step are of.
func markSampled(chunks []Chunk, logits int) error {
	switch {
	case logits < 0 || logits == len(chunks):
		return nil
	case logits > len(chunks):
		return markDrafts(chunks, logits)
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
// speculative decoding have: what goes on with a request, the shorter ones first,
// for the longer may be chunks of a prompt.
func markDrafts(chunks []Chunk, logits int) error {
	more := logits - len(chunks)
	for _, i := range byLength(chunks) {
		c := &chunks[i]
		if drafts := len(c.IDs) - 1; c.Start > 0 && drafts <= more {
			c.Drafts, more = drafts, more-drafts
		}
	}
	if more > 0 {
		return fmt.Errorf("%d rows of logits for %d requests, which are not those of draft tokens of speculative decoding: prompt logprobs cannot be re-run; record the session without them", logits, len(chunks))
	}
	return nil
}

// byLength orders the chunks, the longest last and, among equals, the first last.
func byLength(chunks []Chunk) []int {
	order := make([]int, len(chunks))
	for i := range order {
		order[i] = len(chunks) - 1 - i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(chunks[a].IDs) - len(chunks[b].IDs) })
	return order
}
