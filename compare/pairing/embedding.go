package pairing

import (
	"maps"
	"slices"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

const (
	// sampledRows is how many tokens of a session are looked up in the other.
	sampledRows = 64
	// enoughRows unrelated rows make another model of what one or two would
	// make a fault of the table.
	enoughRows = 3
	// widestRow bounds a row that is copied; no hidden state is as wide.
	widestRow = 1 << 18
)

// unrelatedEmbeddings reports whether no token that both sessions embed has a
// similar row in both: sessions of other weights, though every shape agrees.
// Rows of unrelated tables have a cosine of 0 on average (some reach 0.7 where
// one channel outweighs the others); those of one model, of a fine-tuned copy,
// in two types or scaled, are near 1.
func unrelatedEmbeddings(ref, target *il.Session) bool {
	a := embeddedRows(ref, nil)
	b := embeddedRows(target, a)
	if len(b) < enoughRows {
		return false
	}
	sum := 0.0
	for _, id := range slices.Sorted(maps.Keys(b)) {
		g, err := metric.Measure(a[id], b[id], nil)
		if err != nil || g.NonFinite > 0 || g.Cosine() > 0.9 {
			return false
		}
		sum += g.Cosine()
	}
	return sum < 0.5*float64(len(b))
}

// embeddedRows copies the rows of the first tokens that the session embeds, or
// of those that are also in among.
func embeddedRows(s *il.Session, among map[int]*tensor.Tensor) map[int]*tensor.Tensor {
	rows := map[int]*tensor.Tensor{}
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			if len(rows) == sampledRows {
				return rows
			}
			if topology.Of(c.Module).Kind != topology.Embedding || c.Index != 0 {
				continue
			}
			ids, out := tokenInput(c), FindSlot(c, il.Outputs, "")
			if ids == nil || out == nil {
				continue
			}
			_ = out.With(func(t *tensor.Tensor) error { // what cannot be read proves nothing
				if len(t.Shape) != 2 || t.Shape[0] != len(ids) || t.Shape[1] > widestRow || t.Meta {
					return nil
				}
				for i, id := range ids {
					if _, wanted := among[id]; rows[id] == nil && len(rows) < sampledRows && (among == nil || wanted) {
						rows[id] = t.Narrow(0, i, i+1).Clone()
					}
				}
				return nil
			})
		}
	}
	return rows
}
