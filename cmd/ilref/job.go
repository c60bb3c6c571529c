package main

import (
	"context"
	"fmt"
	"io"

	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/tokenizer"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/tensor"
)

// job is what a run computes: new requests, or the steps of a session.
type job struct {
	tokenizer *tokenizer.Tokenizer // nil where the model has none

	requests         []*ref.Request
	stop             []string
	maxBatchedTokens int

	recorded *il.Session // that is re-run
	like     *il.Session // the same as one process on one device logs it
	ranks    ref.Ranks   // what that was put together of
	plan     *requests.Plan
	silent   bool // the tokens are not printed
}

// quiet is the same job without its tokens on standard output.
func (j *job) quiet() *job {
	q := *j
	q.silent = true
	return &q
}

// job works out what to compute and checks it, so that nothing is written for
// a run that cannot be.
func (f *runFlags) job(engine *ref.Engine, ckpt *model.Checkpoint, dtype tensor.DType, stderr io.Writer) (*job, error) {
	tok, tokErr := ckpt.Tokenizer()
	prompts, err := f.promptTokens(tok, tokErr)
	if err != nil {
		return nil, err
	}
	chats, err := f.chatTokens(ckpt, tok, tokErr)
	if err != nil {
		return nil, err
	}
	prompts = append(prompts, chats...)
	j := &job{tokenizer: tok, stop: f.stop, maxBatchedTokens: f.maxBatchedTokens}
	if f.recorded != nil {
		if err := j.planLike(f.recorded, prompts, engine, dtype, stderr); err != nil {
			return nil, err
		}
		warn(stderr, j.missingBOS()...)
		return j, nil
	}
	if len(f.stop) > 0 && tok == nil {
		return nil, fmt.Errorf("--stop needs the model's tokenizer: %w", tokErr)
	}
	if p := ckpt.Generation.RepetitionPenalty; p != nil && *p != 1 {
		warn(stderr, fmt.Sprintf("generation_config.json: repetition_penalty %v, which vLLM applies by default, is not applied: other tokens may be chosen", *p))
	}
	for i, p := range prompts {
		if err := engine.CheckTokens(p, f.maxTokens); err != nil {
			return nil, fmt.Errorf("prompt %d: %w", i, err)
		}
		j.requests = append(j.requests, &ref.Request{
			Prompt: p, MaxTokens: f.maxTokens, StopIDs: endOfText(ckpt), Sampling: f.sampling, Logprobs: f.logprobs,
		})
	}
	return j, nil
}

// planLike prepares the re-run of a session.
func (j *job) planLike(recorded *il.Session, prompts [][]int, engine *ref.Engine, dtype tensor.DType, stderr io.Writer) error {
	recorded.TellModel(engine.Model.Config.Architectures[0])
	like, notes := normalize.Canonical(recorded, nil, engine.Model.Config.NumKeyValueHeads, engine.Model.Entry)
	warn(stderr, notes.Warnings...)
	if err := ref.CheckSession(like, engine.Model); err != nil {
		return err
	}
	if w := requests.Contradicted(like); w != "" {
		warn(stderr, w)
	}
	plan, err := requests.Read(like, prompts)
	if err != nil {
		return err
	}
	if d := ref.ActivationDType(like); d != tensor.Invalid && d != dtype {
		warn(stderr, fmt.Sprintf("%s: its activations are %s, this run computes in %s: --dtype %s would match", like.Dir, d, dtype, d))
	}
	j.recorded, j.like, j.ranks, j.plan = recorded, like, &notes, plan
	return engine.CheckPlan(plan)
}

// missingBOS tells which requests of a session lack the token that the model's
// tokenizer puts before every text.
func (j *job) missingBOS() []string {
	if j.tokenizer == nil || len(j.tokenizer.Special()) == 0 {
		return nil
	}
	bos := j.tokenizer.Special()[0]
	if ids, err := j.tokenizer.Encode("a", true); err != nil || ids[0] != bos {
		return nil // what is put around a text is behind it
	}
	var out []string
	for _, st := range j.plan.Steps {
		for _, c := range st.Chunks {
			if c.Request >= 0 && c.Start == 0 && c.IDs[0] != bos {
				out = append(out, fmt.Sprintf("%s: step_%d: request %d has no BOS: it starts with token %d, and the model's tokenizer puts %d before every text",
					j.like.Dir, st.Number, c.Request, c.IDs[0], bos))
			}
		}
	}
	return out
}

// endOfText returns the ids that end a text.
func endOfText(ckpt *model.Checkpoint) []int {
	if ids := ckpt.Generation.EOSTokenIDs; len(ids) > 0 {
		return ids
	}
	return ckpt.Config.EOSTokenIDs
}

// run computes the job and writes the tokens and the text of each request.
func (j *job) run(ctx context.Context, engine *ref.Engine, stdout io.Writer, progress ref.Progress) error {
	if j.plan != nil {
		choices, err := engine.Rerun(ctx, j.plan, progress)
		if err != nil || j.silent {
			return err
		}
		return j.printChoices(stdout, choices)
	}
	out := newTextWriter(stdout, j.tokenizer, j.requests, j.stop)
	err := engine.Generate(ctx, j.requests, j.maxBatchedTokens, func(step, rows, done, total int) {
		out.flush()
		progress(step, rows, done, total)
	})
	if err != nil {
		return err
	}
	return j.printRequests(stdout)
}
