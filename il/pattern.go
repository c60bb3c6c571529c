package il

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ilref/ilref/internal/pyregex"
)

// EveryCall is the Call of a pattern without a call index.
const EveryCall = -1

// Pattern is one entry of module_call_match: "regex" or "regex:callidx".
type Pattern struct {
	Entry string // as it was written
	Regex string
	Call  int // the one call of a step that it selects, or EveryCall
	re    *pyregex.Regexp
}

// ParsePattern reads an entry of module_call_match. The call index is what
// follows the last colon, where that is digits alone: other colons, as in
// (?:…), belong to the regex.
func ParsePattern(entry string) (Pattern, error) {
	regex, call := entry, EveryCall
	if i := strings.LastIndexByte(entry, ':'); i >= 0 {
		index := entry[i+1:]
		_, isInt := pythonInt(index)
		switch {
		case index != "" && strings.Trim(index, "0123456789") == "":
			n, err := strconv.Atoi(index)
			if err != nil {
				return Pattern{}, fmt.Errorf("pattern %q: the call index %s is too large", entry, index)
			}
			regex, call = entry[:i], n
		case isInt:
			return Pattern{}, fmt.Errorf("pattern %q: the call index %q is not a number of digits alone; for every call leave it out", entry, index)
		}
	}
	return newPattern(entry, regex, call)
}

func newPattern(entry, regex string, call int) (Pattern, error) {
	re, err := pyregex.Compile(regex)
	if err != nil {
		return Pattern{}, fmt.Errorf("pattern %q: %w", entry, err)
	}
	return Pattern{entry, regex, call, re}, nil
}

// Selection is which calls of a module within a step are logged.
type Selection struct {
	all    bool
	calls  []int
	quirks Quirks
}

// selectionOf joins the entries of one regex.
func selectionOf(regex string, patterns []Pattern) Selection {
	var s Selection
	for _, p := range patterns {
		switch {
		case p.Regex != regex:
		case p.Call == EveryCall:
			s.all = true
		default:
			s.calls = append(s.calls, p.Call)
		}
	}
	return s
}

// Has reports whether a call (0 for the first) is selected, the inputs and the
// outputs alike.
//
// With QuirksVLLM the hook for inputs compares the count that it finds before
// it counts its own call: 0 at call 0 and again at call 1, k-1 at call k. The
// hook for outputs finds the call's own index. So "regex:0" selects the inputs
// of call 1 too, and "regex:k" the inputs of call k+1 beside the outputs of
// call k.
func (s Selection) Has(d Direction, call int) bool {
	if s.quirks == QuirksVLLM && d == Inputs {
		call = max(call-1, 0)
	}
	return s.all || slices.Contains(s.calls, call)
}
