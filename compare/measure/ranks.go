package measure

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/il"
)

// rankFinding describes the ranks of either side that differ where all must be
// alike.
func rankFinding(p *pairing.Pair, notes *normalize.Notes) string {
	if p.Rounded {
		return ""
	}
	var out []string
	for _, side := range []struct {
		name string
		slot *il.Slot
	}{{"reference", p.Ref}, {"target", p.Target}} {
		if side.slot == nil {
			continue
		}
		for _, f := range side.slot.Tensors {
			if why := notes.Finding(f); why != "" {
				out = append(out, fmt.Sprintf("in the %s %s", side.name, why))
			}
		}
	}
	if out != nil && p.OddRank != "" {
		out = append(out, p.OddRank)
	}
	return strings.Join(out, "; ")
}

// Files are the tensors of a compared pair.
func Files(p *pairing.Pair) (ref, target *il.TensorFile) {
	if p.Result == nil || len(p.Ref.Tensors) != 1 || len(p.Target.Tensors) != 1 {
		return nil, nil
	}
	return p.Ref.Tensors[0], p.Target.Tensors[0]
}

// Ranks notes of every pair what the ranks of its tensors tell.
func Ranks(fs []*pairing.Forward, notes *normalize.Notes) {
	for _, f := range fs {
		for _, c := range f.Calls {
			for _, p := range c.Slots {
				p.Finding = rankFinding(p, notes)
				p.Rank, p.Ranked = rankOf(p, notes)
			}
		}
	}
}

// rankOf is the rank that holds the largest difference of a tensor that is put
// together, "" for a tensor of one device; not ok where no single tensor of either
// side differs.
func rankOf(p *pairing.Pair, notes *normalize.Notes) (rank string, ok bool) {
	ref, target := Files(p)
	if ref == nil || p.Result.Gap.MaxAbsAt == nil || p.Result.Gap.Identical() {
		return "", false
	}
	rank = cmp.Or(notes.RankOf(target, p.Result.Gap.MaxAbsAt), notes.RankOf(ref, p.Result.Gap.MaxAbsAt))
	if rank == "" && p.OddRank != "" {
		rank = target.Device
	}
	return rank, true
}
