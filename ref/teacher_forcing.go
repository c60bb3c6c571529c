package ref

import (
	"context"
	"fmt"

	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/model/nn"
)

// SampledToken is the token that greedy decoding would take after a chunk.
type SampledToken struct {
	Step, Request, Token int
}

// Rerun computes the steps of a plan with the plan's tokens (teacher forcing) and returns the
// greedy choices of the rows that sample. CheckPlan must have passed.
func (e *Engine) Rerun(ctx context.Context, plan *requests.Plan, progress Progress) ([]SampledToken, error) {
	seqs := map[int]*sequence{}
	var choices []SampledToken
	previous := -1
	for i, st := range plan.Steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e.prefill(st, seqs, previous)
		e.Hooks.SkipTo(st.Number)
		chunks := make([]chunk, len(st.Chunks))
		for j, c := range st.Chunks {
			seq := seqs[c.Request]
			if c.Request < 0 { // a padding row sees itself only
				seq = e.newSequence()
			} else if seq == nil {
				seq = e.newSequence()
				seqs[c.Request] = seq
			}
			seq.truncate(c.Start)
			chunks[j] = chunk{request: c.Request, seq: seq, ids: c.IDs, sample: c.Sample, drafts: c.Drafts}
		}
		logits, err := e.step(chunks, e.Hooks.StepDone) // the plan's numbers, also where the root's hook never fires
		if err != nil {
			return nil, err
		}
		if logits != nil {
			choices = append(choices, choose(st, rowsOfLogits(logits))...)
		}
		previous = st.Number
		progress.tell(st.Number, rowsOf(st), i+1, len(plan.Steps))
	}
	return choices, nil
}

// prefill computes the tokens before a step that no step of the plan does,
// unlogged. Where they end with the forward pass just before the step, its
// logits belong to the step's directory: they are computed, and can be logged.
func (e *Engine) prefill(st requests.Step, seqs map[int]*sequence, previous int) {
	var chunks []chunk
	for _, c := range st.Chunks {
		if len(c.History) > 0 {
			seqs[c.Request] = e.newSequence()
			chunks = append(chunks, chunk{seq: seqs[c.Request], ids: c.History, sample: true})
		}
	}
	if len(chunks) == 0 {
		return
	}
	hidden := e.forward(nn.NoHooks{}, chunks)
	if previous < st.Number-1 {
		e.Hooks.SkipTo(st.Number)
		e.logits(hidden)
	}
}

// choose takes the best token of every row of logits but those of rejected
// draft tokens.
func choose(st requests.Step, logits [][]float64) []SampledToken {
	var out []SampledToken
	row := 0
	for _, c := range st.Chunks {
		for i := 0; c.Sample && i <= c.Drafts; i++ {
			if i <= c.Drafts-c.Rejected {
				out = append(out, SampledToken{Step: st.Number, Request: c.Request, Token: argmax(logits[row])})
			}
			row++
		}
	}
	return out
}

func rowsOf(st requests.Step) int {
	n := 0
	for _, c := range st.Chunks {
		n += len(c.IDs)
	}
	return n
}

// CheckPlan reports tokens and positions that the model does not have, before
// anything is computed.
func (e *Engine) CheckPlan(plan *requests.Plan) error {
	for _, st := range plan.Steps {
		for _, c := range st.Chunks {
			if err := e.CheckTokens(append(c.History[:len(c.History):len(c.History)], c.IDs...), c.Start-len(c.History)); err != nil {
				return fmt.Errorf("%s: step_%d: %w; is it a session of this model?", plan.Dir, st.Number, err)
			}
		}
	}
	return nil
}
