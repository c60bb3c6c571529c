package faults

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/report"
)

// Faults in a session that took a prefix from its cache, against one that
// computed it: they are named where they are, and what moves the positions, by
// which the rows are lined up, never passes.
func TestFaultBehindPrefix(t *testing.T) {
	b := NewBench(t, benches[0])
	p := b.Batch(0, 1)
	cached(p, 0, 16)
	whole := b.Session(t, Setting{Plan: b.Batch(1, 0)})
	for _, name := range []string{"swapped heads", "wrong GQA mapping", "2 % scale in decode", "2 % noise", "stale lm_head", "positions off by one in decode"} {
		i := slices.IndexFunc(All(), func(f Fault) bool { return f.Name == name })
		require.GreaterOrEqual(t, i, 0, name)
		f := All()[i]
		target := b.Session(t, Setting{Plan: p, Order: Reversed, Inject: f.Inject})
		for _, m := range modes {
			out, _ := judge(t, b, m, Setting{Plan: p}, whole, target)
			if f.Name == "positions off by one in decode" {
				require.NotEqual(t, report.Pass, out.verdict, m.name)
				continue
			}
			require.Equal(t, report.Fail, out.verdict, "%s: %s", f.Name, m.name)
			require.Equal(t, f.Where, out.place, "%s: %s: %s", f.Name, m.name, out.why)
		}
	}
}
