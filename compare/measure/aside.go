package measure

import (
	"fmt"

	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
)

// SetAside takes out of what was compared the pairs that hold nothing to
// compare: no elements, or, where no bounds are given that they can break, NaN
// alone on both sides. They must not count as coverage.
func SetAside(fs []*pairing.Forward, bounds bool) {
	for _, f := range fs {
		for _, c := range f.Calls {
			for _, p := range c.Slots {
				if why := nothing(p, bounds); why != "" {
					p.Status, p.Why, p.Result = pairing.Skipped, why, nil
				}
			}
		}
	}
}

func nothing(p *pairing.Pair, bounds bool) string {
	switch t := p.Result; {
	case t == nil:
		return ""
	case t.Gap.Values == 0:
		return fmt.Sprintf("it has no elements (%s): there is nothing to compare", p.Result.DTypes[1])
	case report.AllNaN(t.Gap) && !bounds && p.Bounds == nil:
		return "every value is NaN on both sides: there is nothing to compare"
	}
	return ""
}
