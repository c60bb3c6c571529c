package judge

import (
	"fmt"
	"strings"

	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/topology"
)

// named is how many names of unknown modules a note gives.
const named = 3

// noteUnknown tells in one line of the compared modules whose names say nothing
// of what they compute: they are held to what holds for any module.
func (j *noiseJudge) noteUnknown(fs []*pairing.Forward) {
	modules, patterns := map[string]bool{}, map[string]bool{}
	var names []string
	for _, f := range fs {
		for _, c := range f.Calls {
			if c.Of.Kind != topology.Unknown || len(c.Slots) == 0 {
				continue
			}
			modules[c.Module] = true
			if p := c.Of.Pattern(); !patterns[p] {
				patterns[p] = true
				names = append(names, p)
			}
		}
	}
	if len(modules) == 0 {
		return
	}
	list := strings.Join(names[:min(len(names), named)], ", ")
	if more := len(names) - named; more > 0 {
		list += fmt.Sprintf(" and %s more", plural.Count(more, "name"))
	}
	verb := "are"
	if len(modules) == 1 {
		verb = "is"
	}
	j.Warnings = append(j.Warnings, fmt.Sprintf("%s %s of unknown kind (%s): judged as any module, by what rounding in its dtype and %g times the gap of its inputs explain",
		plural.Count(len(modules), "module"), verb, list, rounding.Gain(topology.Unknown, 0)))
}
