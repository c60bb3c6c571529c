package foreign

import (
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// parentsFirst moves a call of a module that holds others before those that it
// made, where the dump lists calls as they return (msprobe since 2026, and results
// alone of any tool).
func parentsFirst(calls []*il.Call) {
	for i, c := range calls {
		if !topology.Of(c.Module).Kind.IsBlock() {
			continue
		}
		to := i
		for at := i - 1; at >= 0; at-- {
			if strings.HasPrefix(calls[at].Module, c.Module+".") {
				to = at
			} else if !topology.Of(calls[at].Module).Shared {
				break
			}
		}
		copy(calls[to+1:i+1], calls[to:i])
		calls[to] = c
	}
}
