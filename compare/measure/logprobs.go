package measure

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/workers"
	"github.com/ilref/ilref/tensor"
)

// partings bounds the tokens whose row is followed through its forward: the worst
// of as many requests, the worst first.
const partings = 16

// Logprobs finds the log probabilities of the tokens that were run, wherever both
// sides recorded the logits before them, and where the rows of the worst part. All
// logits of a session are measured by one part of a comparison.
func Logprobs(ctx context.Context, fs []*pairing.Forward, notes *normalize.Notes, text func(id int) string) error {
	var todo []logitsOf
	for _, f := range fs {
		for _, c := range f.Calls {
			for _, p := range c.Slots {
				if p.Result != nil && pairing.IsLogitsOutput(p.Key) {
					todo = append(todo, logitsOf{forward: f, call: c, pair: p, rows: notes.Logits[f.Number]})
				}
			}
		}
	}
	err := workers.Until(ctx, runtime.GOMAXPROCS(0), len(todo), func(int) {}, func(i int) { todo[i].read(ctx, text) })
	if err != nil {
		return err
	}
	findPartings(ctx, worstOfRequests(todo))
	return ctx.Err()
}

// logitsOf is a compared tensor of logits.
type logitsOf struct {
	forward *pairing.Forward
	call    *pairing.Call
	pair    *pairing.Pair
	rows    *normalize.Logits // nil where it is not known what its rows are of
	at      []int             // of every token, its row of logits
}

func (l *logitsOf) read(ctx context.Context, text func(id int) string) {
	out := &report.LogitsTokens{Tokens: []report.TokenLogprob{}}
	l.pair.Logprobs = out
	if l.forward.Work != pairing.SameWork {
		out.Why = "the sessions ran other tokens"
		return
	}
	if l.rows == nil {
		out.Why = "the sessions do not tell which tokens the rows of logits are of: log model.embed_tokens and positions (model.layers.0 or rotary_emb), too"
		return
	}
	ref, target := recorded(l.call, l.pair, true) // equal on all ranks, or it was not compared
	if ref == nil {
		out.Why = "the logits were not recorded as one tensor"
		return
	}
	err := il.WithBoth(ref, target, func(x, y *tensor.Tensor) error {
		width := 0
		if n := len(x.Shape); n >= 2 {
			width = x.Shape[n-1]
		}
		if !slices.Equal(x.Shape, y.Shape) || width == 0 || x.Numel()/width != len(l.rows.Of) {
			return fmt.Errorf("%s and %s, expected %d rows", x, y, len(l.rows.Of))
		}
		a, b := make([]float64, width), make([]float64, width)
		for i := range l.rows.Of {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := l.row(out, i, x, y, a, b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		*out = report.LogitsTokens{Tokens: []report.TokenLogprob{}, Why: "the logits cannot be read row by row: " + err.Error()}
	}
	for i := range out.Tokens {
		if t := &out.Tokens[i]; text != nil {
			t.Text = text(t.ID)
		}
	}
}

// row adds what row i of the logits tells; a and b hold it.
func (l *logitsOf) row(out *report.LogitsTokens, i int, x, y *tensor.Tensor, a, b []float64) error {
	r := l.rows.Of[i]
	switch r.Next {
	case normalize.NextNone:
		out.NoNext++
	case normalize.NextOther:
		out.OtherNext++
	}
	if r.Next != normalize.NextRun {
		return nil
	}
	if err := cmp.Or(x.Float64s(a, i*len(a)), y.Float64s(b, i*len(b))); err != nil {
		return err
	}
	p, ok := metric.MeasureLogprob(a, b, r.ID)
	if !ok || math.IsInf(p.Log[0], -1) && math.IsInf(p.Log[1], -1) {
		out.Undefined++
		return nil
	}
	t := report.TokenLogprob{Request: r.Request, Position: r.Position + 1, ID: r.ID, Step: l.pair.Step, Logprob: p}
	if f := l.forward.Rows; f != nil && len(f.Request) == l.rows.Rows && f.Position[r.Row] == r.Position {
		t.Request = f.Request[r.Row] // as other rows are named
	}
	for _, v := range []float64{a[r.ID], b[r.ID]} {
		if !math.IsInf(v, 0) {
			t.Logit = max(t.Logit, math.Abs(v))
		}
	}
	out.Tokens, l.at = append(out.Tokens, t), append(l.at, i)
	return nil
}

// recorded are the tensors of a pair as both sides have them, nil where a side has
// several, of which the first is taken where first says so.
func recorded(c *pairing.Call, p *pairing.Pair, first bool) (ref, target *il.TensorFile) {
	if c.Ref == nil || c.Target == nil {
		return nil, nil
	}
	r, t := c.Ref.Slot(il.Direction(p.Direction), p.Slot), c.Target.Slot(il.Direction(p.Direction), p.Slot)
	for _, s := range []*il.Slot{r, t} {
		if s == nil || len(s.Tensors) == 0 || len(s.Tensors) > 1 && !first {
			return nil, nil
		}
	}
	return r.Tensors[0], t.Tensors[0]
}
