// Package compare finds where two intermediate-logging sessions of one model
// part, in stages that each live in a file of their own:
//
//	view      both sessions, made comparable tensor by tensor      view
//	pair      tensors by step, module, call, direction and slot    pair.go
//	order     forwards, and the tree of calls in each              forward.go
//	workload  which forwards ran the same tokens on both sides     workload.go
//	measure   the gap of every pair, read block by block           measure.go, metric
//	judge     noise or fault, and the first divergence             judge.go, container.go, bounds.go
//	report    the result tree                                      report.go
//
// The writers (text.go, json.go) only read the tree.
package compare

import (
	"context"

	"github.com/ilref/ilref/compare/view"
	"github.com/ilref/ilref/il"
)

// Options says what to compare and how to judge it. The zero value compares
// everything, by the default rule, and asks for full coverage.
type Options struct {
	Steps       []StepRange // directory numbers; none means all
	Modules     []string    // Python regexes, searched in the module names; none means all
	CommonOnly  bool        // leave out what only one session holds, instead of counting it as missing
	Bounds      Bounds      // where one is set, they replace the default rule
	Policy      *Policy     // rules for single tensors, nil for none; not beside Bounds
	MinCoverage *float64    // percent of the tensors of both sessions; nil means 100
	View        view.Options
	Evidence    Evidence
	Progress    func(done, total int) // called between tensors, by one goroutine; nil for none
	TokenText   func(id int) string   // names tokens in the report; nil for numbers alone
}

// Sessions compares target with ref, the reference. Its errors are those of
// the request: options that select nothing, sessions of different models. What
// is wrong with single tensors is in the report.
func Sessions(ref, target *il.Session, opts Options) (*Report, error) {
	return SessionsContext(context.Background(), ref, target, opts)
}

// SessionsContext is Sessions that stops when ctx ends, with its error.
func SessionsContext(ctx context.Context, ref, target *il.Session, opts Options) (*Report, error) {
	rawRef, rawTarget := ref, target
	opts.View.Canonical = opts.View.Canonical || opts.Evidence.given() // ilref, which makes it, has no other names
	ref, target, notes, err := view.Prepare(ref, target, opts.View)
	if err != nil {
		return nil, err
	}
	if err := sameModel(ref, target); err != nil {
		return nil, err
	}
	sel, err := newSelection(ref, target, opts)
	if err != nil {
		return nil, err
	}
	forwards := order(ref, target, sel)
	if err := opts.applyPolicy(forwards, ref, target); err != nil {
		return nil, err
	}
	workloads(forwards)
	if err := measure(ctx, forwards, opts.Bounds.tolerance, opts.Progress); err != nil {
		return nil, err
	}
	if err := opts.Evidence.gather(ctx, target, forwards, sel); err != nil {
		return nil, err
	}
	nameTokens(forwards, opts.TokenText)
	r := newReport(rawRef, rawTarget, forwards)
	r.takeNotes(&notes)
	if opts.Bounds.set() {
		r.Rule = RuleBounds
		judgeBounds(r, forwards, opts.Bounds)
	} else {
		r.Rule = opts.rule()
		judgeNoise(r, forwards, layerCount(ref, target), &opts.Evidence)
	}
	r.judgeRanks(forwards, &notes)
	r.summarise(forwards)
	r.hints(forwards)
	r.conclude(opts.MinCoverage)
	return r, ctx.Err()
}
