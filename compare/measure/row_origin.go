package measure

import (
	"crypto/sha256"

	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// otherRow is the gap of a row beyond which it may be another one: it is far
// below that of two tokens, and few inputs have it without a fault.
const otherRow = 0.05

// LogitsRows finds the rows of the final norm that logits are computed of, where
// those of the two sessions differ by much. It needs no pair of the norm: a
// part that measures the logits alone reads them too.
func LogitsRows(fs []*pairing.Forward) {
	for _, f := range fs {
		norm := f.Find(func(c *pairing.Call) bool { return c.Module == topology.FinalNormName })
		if f.Work != pairing.SameWork || norm == nil || norm.Ref == nil || norm.Target == nil {
			continue
		}
		for _, c := range f.Calls {
			if c.Of.Kind != topology.Logits {
				continue
			}
			for _, p := range c.Slots {
				if ref, target := Files(p); ref != nil && p.Direction == report.Inputs && p.Result.Gap.Rows() > 0 && rounding.WorstRow(p.Result.Gap) > otherRow {
					p.Rows = pairing.NewRowOrigin(norm.Module, selected(ref, normed(norm.Ref)), selected(target, normed(norm.Target)))
				}
			}
		}
	}
}

// normed is what a norm returns, beside the residual or alone.
func normed(c *il.Call) *il.TensorFile {
	if f := pairing.FindSlot(c, il.Outputs, "0"); f != nil {
		return f
	}
	return pairing.FindSlot(c, il.Outputs, "")
}

// selected lists for every row of a matrix the rows of another that equal it to
// the bit; nil where they cannot be read.
func selected(rows, from *il.TensorFile) [][]int {
	if from == nil {
		return nil
	}
	var out [][]int
	_ = il.WithBoth(rows, from, func(x, y *tensor.Tensor) error {
		if len(x.Shape) != 2 || len(y.Shape) != 2 || x.DType != y.DType || x.Shape[1] != y.Shape[1] || x.Meta || y.Meta {
			return nil
		}
		at := map[[sha256.Size]byte][]int{}
		for i, h := range rowHashes(y) {
			at[h] = append(at[h], i)
		}
		for _, h := range rowHashes(x) {
			out = append(out, at[h])
		}
		return nil
	})
	return out
}

func rowHashes(m *tensor.Tensor) [][sha256.Size]byte {
	out := make([][sha256.Size]byte, m.Shape[0])
	row := make([]byte, m.Shape[1]*m.DType.Size())
	for i := range out {
		m.Narrow(0, i, i+1).Gather(row, 0)
		out[i] = sha256.Sum256(row)
	}
	return out
}
