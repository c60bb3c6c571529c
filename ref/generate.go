package ref

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
)

// maxNumSeqs is how many requests run at once (vLLM's max_num_seqs default).
const maxNumSeqs = 256

// Request is a prompt and what was generated for it.
type Request struct {
	Prompt    []int
	MaxTokens int
	StopIDs   []int               // ids that end the request; the id itself is kept
	Stop      func(*Request) bool // asked after each token whether it is the last; nil = never
	Sampling  Sampling
	Logprobs  int // most likely tokens to record beside each chosen one; 0 = none

	Output   []int
	Recorded [][]Logprob // one list a token of Output: the chosen token, then the most likely

	index   int // among the requests
	seq     *sequence
	rng     *rand.Rand
	next    int  // rows in the step being scheduled
	stopped bool // by Stop
}

// token returns id i of the prompt and the output after it.
func (r *Request) token(i int) int {
	if i < len(r.Prompt) {
		return r.Prompt[i]
	}
	return r.Output[i-len(r.Prompt)]
}

func (r *Request) len() int { return len(r.Prompt) + len(r.Output) }

// Finished reports whether the request has all its tokens.
func (r *Request) Finished() bool {
	n := len(r.Output)
	return n >= r.MaxTokens || r.stopped || n > 0 && slices.Contains(r.StopIDs, r.Output[n-1])
}

// number gives the request its place among the requests, and its random numbers by it.
func (r *Request) number(index int) {
	r.index, r.rng = index, rand.New(rand.NewPCG(r.Sampling.Seed, uint64(index)))
}

// take appends the token that the logits of the last row give.
func (r *Request) take(logits []float64) {
	id := r.Sampling.choose(logits, r.rng)
	r.Output = append(r.Output, id)
	if r.Logprobs > 0 {
		r.Recorded = append(r.Recorded, logprobs(logits, id, r.Logprobs))
	}
	r.stopped = r.Stop != nil && r.Stop(r)
}

// Progress is told after each step: its number, the rows it computed, and the
// tokens generated so far and wanted at most. A nil Progress is told nothing.
type Progress func(step, rows, done, total int)

func (p Progress) tell(step, rows, done, total int) {
	if p != nil {
		p(step, rows, done, total)
	}
}

// Generate runs requests to their end with at most
// maxBatchedTokens rows a step: running requests first, then waiting ones, a
// long prompt in chunks (vLLM v0.11.0 v1/core/sched/scheduler.py).
func (e *Engine) Generate(ctx context.Context, requests []*Request, maxBatchedTokens int, progress Progress) error {
	if maxBatchedTokens < 1 {
		return fmt.Errorf("max-num-batched-tokens %d: expected 1 or more", maxBatchedTokens)
	}
	total := 0
	for i, r := range requests {
		if err := e.CheckTokens(r.Prompt, r.MaxTokens); err != nil {
			return fmt.Errorf("prompt %d: %w", i, err)
		}
		if r.MaxTokens < 1 {
			return fmt.Errorf("max-tokens %d: expected 1 or more", r.MaxTokens)
		}
		total += r.MaxTokens
		r.number(i)
	}
	waiting := slices.Clone(requests)
	var running []*Request
	var batch slots
	for step := 0; len(waiting)+len(running) > 0; step++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		rows := schedule(&running, &waiting, maxBatchedTokens)
		for _, r := range running {
			if r.seq == nil {
				r.seq = e.newSequence()
			}
		}
		batch.update(running)
		if err := e.advance(batch); err != nil {
			return err
		}
		running = slices.DeleteFunc(running, (*Request).Finished)
		done := 0
		for _, r := range requests {
			done += len(r.Output)
		}
		progress.tell(step, rows, done, total)
	}
	return nil
}

// schedule sets the rows of each running request in the next step, moves
// waiting requests to running while the budget lasts, and returns the rows.
func schedule(running, waiting *[]*Request, budget int) int {
	left := budget
	for _, r := range *running {
		r.next = min(r.len()-r.seq.len, left)
		left -= r.next
	}
	for left > 0 && len(*waiting) > 0 && len(*running) < maxNumSeqs {
		r := (*waiting)[0]
		*waiting, *running = (*waiting)[1:], append(*running, r)
		r.next = min(len(r.Prompt), left)
		left -= r.next
	}
	return budget - left
}

// advance runs a step over the batch and appends the sampled tokens. Every
// request has a row of logits; that of an unfinished prompt is thrown away.
func (e *Engine) advance(batch slots) error {
	var chunks []chunk
	for _, r := range batch {
		ids := make([]int, r.next)
		for i := range ids {
			ids[i] = r.token(r.seq.len + i)
		}
		chunks = append(chunks, chunk{request: r.index, seq: r.seq, ids: ids, sample: true})
	}
	logits, err := e.step(chunks, e.rootDone)
	if err != nil {
		return err
	}
	for i, row := range rowsOfLogits(logits) {
		if r := batch[i]; r.seq.len == r.len() {
			r.take(row)
		}
	}
	return nil
}

// slots is vLLM's persistent batch: requests keep their index from step to
// step, and the rows of a step follow the indices (vLLM v0.11.0
// v1/worker/gpu_input_batch.py).
type slots []*Request

// update drops the requests that have no rows in the next step, puts new ones
// into the smallest free indices, and closes the holes that remain with the
// requests of the highest indices.
func (s *slots) update(running []*Request) {
	b := *s
	for i, r := range b {
		if r.next == 0 || !slices.Contains(running, r) {
			b[i] = nil
		}
	}
	for _, r := range running {
		if r.next == 0 || slices.Contains(b, r) {
			continue
		}
		if i := slices.Index(b, nil); i >= 0 {
			b[i] = r
		} else {
			b = append(b, r)
		}
	}
	for i := 0; i < len(b); i++ {
		for len(b) > 0 && b[len(b)-1] == nil {
			b = b[:len(b)-1]
		}
		if i < len(b) && b[i] == nil {
			b[i], b = b[len(b)-1], b[:len(b)-1]
		}
	}
	*s = b
}
