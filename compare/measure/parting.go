package measure

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// followed is a token whose row is followed through the forward that gave its
// logits.
type followed struct {
	*logitsOf
	token *report.TokenLogprob
	index int // of its row of logits

	// As it goes:
	in     map[*pairing.Call]rowIn
	out    map[*pairing.Call]float64 // the largest gap of the row in a call's outputs
	seen   float64                   // the largest before
	first  *report.Parting           // the first that differs
	beyond *report.Parting           // the first that is not explained
}

// rowIn is what a call was given of a row.
type rowIn struct {
	gap   float64 // the largest
	known bool    // of all inputs, and there are some
}

// worstOfRequests are the tokens with the largest |log ratio| of the requests that
// have the largest, where it is not 0.
func worstOfRequests(all []logitsOf) []*followed {
	worst := map[int]*followed{}
	for i := range all {
		l := &all[i]
		for k := range l.pair.Logprobs.Tokens {
			t := &l.pair.Logprobs.Tokens[k]
			size := math.Abs(t.LogRatio())
			if w := worst[t.Request]; size > 0 && (w == nil || size > math.Abs(w.token.LogRatio())) {
				worst[t.Request] = &followed{logitsOf: l, token: t, index: l.at[k]}
			}
		}
	}
	var out []*followed
	for _, w := range worst {
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b *followed) int {
		return cmp.Or(cmp.Compare(math.Abs(b.token.LogRatio()), math.Abs(a.token.LogRatio())), a.token.Request-b.token.Request)
	})
	return out[:min(len(out), partings)]
}

// findPartings finds where the rows of tokens part: the first output, in the order
// in which calls returned, whose row is off by more than rounding and the rows of
// the call's inputs explain, or the first input that modules which are not recorded
// have moved as far; where none is, the first whose row differs at all.
// Tensors of their forwards alone are opened, each once, for one row a token.
// Earlier tokens reach a row through the keys and values of attention, which are
// not followed.
func findPartings(ctx context.Context, all []*followed) {
	of := map[*pairing.Forward]following{}
	for _, w := range all {
		w.in, w.out = map[*pairing.Call]rowIn{}, map[*pairing.Call]float64{}
		of[w.forward] = append(of[w.forward], w)
	}
	for f, ws := range of {
		if ctx.Err() != nil {
			return
		}
		pairing.Walk(f.Top, ws.enter, ws.leave)
	}
	for _, w := range all {
		if w.token.Parts = w.beyond; w.beyond == nil {
			w.token.Parts = w.first
		}
	}
}

// following are the tokens that are followed through one forward.
type following []*followed

// done reports whether there is nothing more to find.
func (ws following) done() bool {
	return !slices.ContainsFunc(ws, func(w *followed) bool { return w.beyond == nil })
}

func (ws following) enter(c *pairing.Call) {
	if ws.done() {
		return
	}
	some := false
	for _, w := range ws {
		w.in[c] = rowIn{known: true}
	}
	for _, p := range pairsOf(c) {
		if p.Direction != report.Inputs {
			continue
		}
		some = true
		gaps, types := ws.rowGaps(c, p)
		for i, w := range ws {
			in := w.in[c]
			if gaps == nil || math.IsNaN(gaps[i]) {
				in.known = false
			} else {
				in.gap = max(in.gap, gaps[i])
				// What made it, and is not recorded, may have added to what was seen.
				w.note(c, p, gaps[i], rowLimit(topology.Unknown, types, true, w.seen))
			}
			w.in[c] = in
		}
	}
	for _, w := range ws {
		in := w.in[c]
		in.known = in.known && some
		w.in[c], w.seen = in, max(w.seen, in.gap)
	}
}

func (ws following) leave(c *pairing.Call) {
	if ws.done() {
		return
	}
	for _, p := range pairsOf(c) {
		if p.Direction != report.Outputs {
			continue
		}
		gaps, types := ws.rowGaps(c, p)
		for i, w := range ws {
			if gaps != nil && !math.IsNaN(gaps[i]) {
				w.output(c, p, gaps[i], types)
			}
		}
	}
	for _, w := range ws {
		w.seen = max(w.seen, w.out[c])
	}
}

// output takes in the gap of a token's row in an output.
func (w *followed) output(c *pairing.Call, p *pairing.Pair, gap float64, types [2]tensor.DType) {
	in, composite := w.in[c].gap, c.Of.Kind.IsBlock()
	if !w.in[c].known || c.Of.Kind == topology.Attention {
		in = max(in, w.seen)
	}
	for _, k := range c.Children {
		if inside, known := w.out[k]; known {
			in, composite = max(in, inside), true
		}
	}
	w.out[c] = max(w.out[c], gap)
	w.note(c, p, gap, rowLimit(c.Of.Kind, types, composite, in))
}

// note keeps the first that differs and the first that is not explained.
func (w *followed) note(c *pairing.Call, p *pairing.Pair, gap, limit float64) {
	x := &report.Parting{Key: p.Key, Layer: c.Layer, RelL2: gap, Limit: limit}
	if gap > x.Limit && w.beyond == nil {
		w.beyond = x
	}
	if gap > 0 && w.first == nil {
		first := *x
		first.Within, w.first = true, &first
	}
}

// rowLimit is what rounding and the gap of its inputs explain in one row.
func rowLimit(kind topology.Kind, types [2]tensor.DType, composite bool, in float64) float64 {
	floor := max(rounding.Noise(types[0]), rounding.Noise(types[1]))
	if kind == topology.Embedding && types[0] == types[1] {
		return 0 // a copy
	}
	own := rounding.RowNoise * floor
	if composite {
		own *= rounding.Composite
	}
	return rounding.Limit(own, floor, rounding.Gain(kind, 1)*in)
}

// pairsOf are the selected tensors of a call, whoever measures them.
func pairsOf(c *pairing.Call) []*pairing.Pair {
	if c.Slots == nil {
		return c.Others
	}
	return c.Slots
}

// rowGaps are the gaps of the tokens' rows in a pair: NaN where one is not known, 0
// of integers, which are judged elsewhere; nil where none is.
func (ws following) rowGaps(c *pairing.Call, p *pairing.Pair) (gaps []float64, types [2]tensor.DType) {
	ref, target := recorded(c, p, false)
	if ref == nil || p.Status == pairing.Excluded {
		return nil, types
	}
	err := il.WithBoth(ref, target, func(x, y *tensor.Tensor) error {
		types, gaps = [2]tensor.DType{x.DType, y.DType}, make([]float64, len(ws))
		for i, w := range ws {
			gaps[i] = w.rowGap(c, x, y)
		}
		return nil
	})
	if err != nil {
		return nil, types
	}
	return gaps, types
}

func (w *followed) rowGap(c *pairing.Call, x, y *tensor.Tensor) float64 {
	if x.DType.IsInt() && y.DType.IsInt() {
		return 0
	}
	row, rows := w.rows.Of[w.index].Row, w.rows.Rows
	if c.Of.Kind.IsHead() {
		row, rows = w.index, len(w.rows.Of)
	}
	a, b := rowOf(x, row, rows), rowOf(y, row, rows)
	if a == nil || b == nil || !slices.Equal(a.Shape, b.Shape) {
		return math.NaN()
	}
	g, err := metric.Measure(a, b, nil)
	if err != nil {
		return math.NaN()
	}
	return rounding.SizeOf(g)
}

// rowOf is one of the rows of a tensor that has so many, in its first dimension or,
// of a batch, in the first two; nil where it has not.
func rowOf(t *tensor.Tensor, row, rows int) *tensor.Tensor {
	switch s := t.Shape; {
	case !t.DType.IsFloat() || t.Meta || len(s) < 2:
		return nil
	case s[0] == rows:
		return t.Narrow(0, row, row+1)
	case len(s) > 2 && s[0]*s[1] == rows:
		return t.Narrow(0, row/s[1], row/s[1]+1).Narrow(1, row%s[1], row%s[1]+1)
	}
	return nil
}
