package compare

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/view"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// takeNotes puts what the transforms found into the report.
func (r *Report) takeNotes(n *view.Notes) {
	r.Warnings = append(r.Warnings, n.Warnings...)
	r.Coverage.UnmatchedByNature, r.Coverage.NoPartner = n.Unmatched, n.NoPartner
}

// judgeRanks names ranks: those that do not hold what they must, which is a
// divergence of its own, and those whose part of a tensor is at fault.
func (r *Report) judgeRanks(fs []*forward) (out *blamed) {
	done := false  // the first divergence lies before, or is this
	found := false // ranks that part once stay apart: what follows is inherited
	tell := func(c *call, direction func(string) bool) {
		for _, p := range c.slots {
			if !direction(p.Direction) {
				continue
			}
			if p.ranked {
				p.result.Rank = p.rank
			}
			first := r.FirstDivergence != nil && r.FirstDivergence.Key == p.Key
			why := p.finding
			switch {
			case why != "" && !found:
				r.failRank(c, p, why, !done)
			case why != "" && p.result != nil && p.result.Verdict == Pass:
				p.result.Verdict = Inherited
			case first:
				out = &blamed{c, p}
			}
			done, found = done || first || why != "", found || why != ""
		}
	}
	for _, f := range fs {
		walk(f.top,
			func(c *call) { tell(c, func(d string) bool { return d == inputs }) },
			func(c *call) { tell(c, func(d string) bool { return d != inputs }) })
	}
	return out
}

// rankFinding describes the ranks of either side that differ where all must be
// alike.
func rankFinding(p *slotPair, notes *view.Notes) string {
	var out []string
	for _, side := range []struct {
		name string
		slot *il.Slot
	}{{"reference", p.ref}, {"target", p.target}} {
		if side.slot == nil {
			continue
		}
		for _, f := range side.slot.Tensors {
			if why := notes.Finding(f); why != "" {
				out = append(out, fmt.Sprintf("in the %s %s", side.name, why))
			}
		}
	}
	return strings.Join(out, "; ")
}

// failRank makes a finding the failure of its tensor, and the first divergence
// where none lies before it.
func (r *Report) failRank(c *call, p *slotPair, why string, first bool) {
	if d := r.FirstDivergence; d != nil && d.Key == p.Key {
		why += "; " + d.Why
	}
	if p.result != nil {
		p.result.Verdict = Fail
	}
	c.report.Why = why
	r.gap = true
	if first {
		r.FirstDivergence = &Divergence{Key: p.Key, Layer: c.layer, Why: why}
	}
}

// files are the tensors of a compared pair.
func (p *slotPair) files() (ref, target *il.TensorFile) {
	if p.result == nil || len(p.ref.Tensors) != 1 || len(p.target.Tensors) != 1 {
		return nil, nil
	}
	return p.ref.Tensors[0], p.target.Tensors[0]
}

// findRanks notes of every pair what the ranks of its tensors tell.
func findRanks(fs []*forward, notes *view.Notes) {
	for _, f := range fs {
		for _, c := range f.calls {
			for _, p := range c.slots {
				p.finding = rankFinding(p, notes)
				p.rank, p.ranked = rankOf(p, notes)
			}
		}
	}
}

// rankOf is the rank that holds the largest difference of a tensor that is put
// together, "" for a tensor of one device; not ok where no single tensor of either
// side differs.
func rankOf(p *slotPair, notes *view.Notes) (rank string, ok bool) {
	ref, target := p.files()
	if ref == nil || p.result.Gap.MaxAbsAt == nil || p.result.Gap.Identical() {
		return "", false
	}
	return cmp.Or(notes.RankOf(target, p.result.Gap.MaxAbsAt), notes.RankOf(ref, p.result.Gap.MaxAbsAt)), true
}

// rankShare is how many times the gap of the other ranks the gap of one must
// be to be called its own.
const rankShare = 10

// blameRank adds to the reason of the first divergence which rank's part of the
// tensor is at fault, where it is one rank's. Where there is a replay it is what
// the target is measured by.
func (r *Report) blameRank(c *call, p *slotPair, gaps map[string]float64) {
	worst, next, device := 0.0, 0.0, ""
	for d, g := range gaps {
		if g > worst {
			worst, next, device = g, worst, d
		} else {
			next = max(next, g)
		}
	}
	if len(gaps) < 2 || worst <= rankShare*next {
		return
	}
	why := fmt.Sprintf("%s; only what rank %s computed differs so (rel_l2 %s, elsewhere at most %s)", r.FirstDivergence.Why, device, num(worst), num(next))
	r.FirstDivergence.Why, c.report.Why = why, why
	p.result.Rank = device
}

// rankGaps measures each rank's part of a tensor, on the side that is put
// together of several.
func rankGaps(p *slotPair, notes *view.Notes) (gaps map[string]float64) {
	ref, target := p.files()
	if ref == nil {
		return nil
	}
	if p.replay != nil && len(p.replay.Tensors) == 1 {
		ref = p.replay.Tensors[0]
	}
	_ = il.WithBoth(ref, target, func(x, y *tensor.Tensor) (err error) {
		gaps, err = gapsOfRanks(target, x, y, notes)
		if len(gaps) < 2 && err == nil {
			gaps, err = gapsOfRanks(ref, x, y, notes)
		}
		return err
	})
	return gaps
}

// gapsOfRanks measures what came from each rank of the file that is put
// together.
func gapsOfRanks(f *il.TensorFile, x, y *tensor.Tensor, notes *view.Notes) (map[string]float64, error) {
	out := map[string]float64{}
	xs, ys := notes.Parts(f, x), notes.Parts(f, y)
	if len(xs) != len(ys) {
		return nil, nil
	}
	for i, part := range xs {
		for k := range part.Views {
			g, err := metric.Measure(part.Views[k], ys[i].Views[k], nil)
			if err != nil {
				return nil, err
			}
			out[part.Device] = max(out[part.Device], g.RelL2)
		}
	}
	return out, nil
}
