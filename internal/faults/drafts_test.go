package faults

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il/requests"
)

// oneKept are the plans of a run with two draft tokens in one step, of which the
// first is kept, and of the same tokens one by one. The second request of the
// batch decodes beside it.
func oneKept(b *Bench) (plain, drafts *requests.Plan) {
	const last = 9 // some token behind the outputs
	plain, drafts = b.Batch(0, 1), b.Batch(0, 1)
	first, second := plain.Steps[1].Chunks[0], plain.Steps[1].Chunks[1]
	step := func(n int, more int, ids ...int) requests.Step {
		c, d := first, second
		c.Start, c.IDs = c.Start+more, ids
		d.Start, d.IDs = d.Start+n-1, []int{20 + n}
		return requests.Step{Number: n, Chunks: []requests.Chunk{c, d}}
	}
	o := b.outputs[0]
	plain.Steps = append(plain.Steps[:1], step(1, 0, o[0]), step(2, 1, o[1]), step(3, 2, last))
	drafts.Steps = append(drafts.Steps[:1], step(1, 0, o[0], o[1], last+1), step(2, 2, last))
	c := &drafts.Steps[1].Chunks[0]
	c.Drafts, c.Rejected = 2, 1
	return plain, drafts
}

// A session with draft tokens is read back as the plan that made it and run
// again to the bit; against one without them what was kept is compared.
func TestDraftTokens(t *testing.T) {
	b := NewBench(t, benches[0])
	plain, drafts := oneKept(b)
	with := b.Session(t, Setting{Plan: drafts})
	read, err := requests.Read(with, nil)
	require.NoError(t, err)
	require.Equal(t, drafts.Steps, read.Steps)

	r, err := compare.Sessions(with, b.Session(t, Setting{Plan: read}), compare.Options{})
	require.NoError(t, err)
	require.Equal(t, report.Pass, r.Verdict)
	require.True(t, r.Coverage.Compared > 0 && len(r.Warnings) == 0, r.Warnings)

	without := b.Session(t, Setting{Plan: plain, Order: Reversed})
	for _, m := range modes {
		_, r := judge(t, b, m, Setting{Plan: drafts}, without, with)
		require.Equal(t, report.Pass, r.Verdict, m.name)
		require.Contains(t, r.Warnings, "target: 1 row of draft tokens that speculative decoding rejected, not compared: the reference did not run them")
		_, r = judge(t, b, m, Setting{Plan: plain}, with, without)
		require.Equal(t, report.Pass, r.Verdict, m.name)
	}
}
