package faults

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// Which ranks hold the same key heads is no guess of a faulty target's: the module
// and the rank are named whatever the number of ranks, and whether the reference
// has ranks or not, and nothing is left out.
func TestWrongKeyHeads(t *testing.T) {
	b := NewBench(t, "gopher-1m") // 8 query heads, 2 key heads
	refs := map[int]*il.Session{1: b.Ref}
	for _, n := range []int{2, 4, 8} {
		refs[n] = b.parallel(t, Setting{}, &Parallel{Ranks: n})
	}
	for _, c := range []struct {
		name   string
		ranks  int
		inject func(int, *Run)
		why    string // "" where nothing is wrong
	}{
		{"right", 4, nil, ""},
		{"two ranks, both with the first head", 2, only(1, keyHead(1, 0)), "only what rank cuda:1 computed differs so"},
		{"four ranks, rank 0", 4, only(0, keyHead(0, 1)), "rank cuda:1 differs from cuda:0"},
		{"four ranks, rank 3", 4, only(3, keyHead(1, 0)), "rank cuda:3 differs from cuda:2"},
		{"eight ranks, rank 3", 8, only(3, keyHead(0, 1)), "rank cuda:3 differs from cuda:0"},
		{"four ranks, dealt out in turn", 4, func(rank int, r *Run) { keyHead(rank/2, rank%2)(r) }, "rank cuda:3 differs from cuda:2"},
		{"a rank's kernel sums otherwise", 4, only(1, SplitK), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := b.parallel(t, Setting{}, &Parallel{Ranks: c.ranks, Inject: c.inject})
			for _, m := range modes {
				e := m.evidence(t, b, Setting{}, target)
				for _, n := range []int{1, c.ranks} {
					ref := refs[n]
					r, err := compare.Sessions(ref, target, compare.Options{Evidence: e})
					require.NoError(t, err)
					require.Equal(t, 100., r.Coverage.Percent(), "%s, %d ranks", m.name, n)
					if c.why == "" {
						require.Equal(t, report.Pass, r.Verdict, "%s, %d ranks: %v", m.name, n, r.FirstDivergence)
						continue
					}
					d := r.FirstDivergence
					require.NotNil(t, d, "%s, %d ranks", m.name, n)
					require.Equal(t, Place{Module: topology.InLayer(0, topology.QKVProjName)}, Place{d.Step, d.Module, d.Call}, "%s, %d ranks: %s", m.name, n, d.Why)
					require.Contains(t, d.Why, c.why, "%s, %d ranks", m.name, n)
					require.Contains(t, d.Hint, "key and value heads on the wrong rank", "%s, %d ranks", m.name, n)
				}
			}
		})
	}
}

// What follows a torn sum on its rank is right for what the rank was given, and
// is not called a fault; whichever rank it is, it is named.
func TestTornReduce(t *testing.T) {
	b := NewBench(t, "gopher-1m")
	at := Place{Step: 1, Module: topology.InLayer(0, topology.OProjName)}
	right := b.parallel(t, Setting{}, &Parallel{Ranks: 4})
	for rank, device := range []string{"cuda:0", "cuda:1", "cuda:2", "cuda:3"} {
		target := b.parallel(t, Setting{}, &Parallel{Ranks: 4, Torn: func(r int, p Place) bool { return r == rank && p == at }})
		for _, m := range modes {
			e := m.evidence(t, b, Setting{}, target)
			for _, ref := range []*il.Session{b.Ref, right} {
				r, err := compare.Sessions(ref, target, compare.Options{Evidence: e})
				require.NoError(t, err)
				require.NotNil(t, r.FirstDivergence)
				require.Contains(t, r.FirstDivergence.Why, "it is rank "+device+" that is off from the reference", m.name)
				require.Contains(t, r.FirstDivergence.Hint, "rank "+device+" holds what looks like its partial sum", m.name)
				for _, x := range r.Modules {
					require.Equal(t, x.Step == at.Step && x.Module == at.Module, x.Verdict == report.Fail, "%s: step %d %s: %s", m.name, x.Step, x.Name(), x.Why)
				}
			}
		}
	}
}
