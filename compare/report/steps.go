package report

import (
	"fmt"
	"strconv"
	"strings"
)

// StepRange is an inclusive range of step numbers.
type StepRange struct {
	First, Last int
}

// String is the range as --steps takes it.
func (r StepRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// ParseSteps reads a list of step numbers and ranges: "0,2-4".
func ParseSteps(s string) ([]StepRange, error) {
	var out []StepRange
	for part := range strings.SplitSeq(s, ",") {
		lo, hi, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			hi = lo
		}
		first, err1 := strconv.ParseUint(lo, 10, 31)
		last, err2 := strconv.ParseUint(hi, 10, 31)
		if err1 != nil || err2 != nil || first > last {
			return nil, fmt.Errorf("steps %q: %q is neither a step number nor a range; write for example 0,2-4", s, part)
		}
		out = append(out, StepRange{int(first), int(last)})
	}
	return out, nil
}

// FormatSteps writes ascending numbers as "no steps", "step 3" or
// "steps 0-2, 5".
func FormatSteps(n []int) string {
	if len(n) == 0 {
		return "no steps"
	}
	var parts []string
	for i := 0; i < len(n); {
		j := i
		for j+1 < len(n) && n[j+1] == n[j]+1 {
			j++
		}
		parts = append(parts, StepRange{n[i], n[j]}.String())
		i = j + 1
	}
	if len(n) == 1 {
		return "step " + parts[0]
	}
	return "steps " + strings.Join(parts, ", ")
}
