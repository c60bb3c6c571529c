package compare

import (
	"context"
	"sync"

	"github.com/ilref/ilref/compare/measure"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/partial"
	"github.com/ilref/ilref/compare/shard"
	"github.com/ilref/ilref/il"
)

// MeasurePart measures the tensors of one part of a comparison. The names,
// tokens and embedding rows of both sessions are read whole. Version, Options,
// Warnings and Findings are left to the caller.
func MeasurePart(ctx context.Context, ref, target *il.Session, opts Options, p shard.Part) (*partial.Report, error) {
	c, err := begin(ref, target, &opts)
	if err != nil {
		return nil, err
	}
	named, err := opts.View.Map.Rename(ref, target)
	if err != nil {
		return nil, err
	}
	c.sel.Own = partial.Assign(p, named, c.target, c.ref)
	c.sel.Narrow(c.forwards)
	var once sync.Once
	var failed error
	if err := c.measure(ctx, func(p *pairing.Pair) {
		if err := measure.Digests(p); err != nil {
			once.Do(func() { failed = err })
		}
	}); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	return partial.Encode(c.measured(), c.sel.Own, opts.Policy, opts.Evidence.Found, p), ctx.Err()
}
