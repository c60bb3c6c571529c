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
	p := Pattern{Entry: entry, Regex: entry, Call: EveryCall}
	if i := strings.LastIndexByte(entry, ':'); i >= 0 {
		index := entry[i+1:]
		switch {
		case index != "" && strings.Trim(index, "0123456789") == "":
			n, err := strconv.Atoi(index)
			if err != nil {
				return p, fmt.Errorf("pattern %q: the call index %s is too large", entry, index)
			}
			p.Regex, p.Call = entry[:i], n
		case pythonInt(index):
			return p, fmt.Errorf("pattern %q: the call index %q is not a number of digits alone; for every call leave it out", entry, index)
		}
	}
	var err error
	if p.re, err = pyregex.Compile(p.Regex); err != nil {
		return p, fmt.Errorf("pattern %q: %w", entry, err)
	}
	return p, nil
}

// pythonInt reports whether int() of Python takes s, as the GPU logger reads
// an index: "-1", " 2".
func pythonInt(s string) bool {
	s = strings.TrimSpace(s)
	s = strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	_, err := strconv.ParseUint(strings.ReplaceAll(s, "_", ""), 10, 64)
	return err == nil
}

// gpuReading is what the GPU logger (vLLM, variant A) makes of the entry: it
// splits at every colon. ok is false where it drops the entry.
func (p Pattern) gpuReading() (regex, index string, ok bool) {
	parts := strings.SplitN(p.Entry, ":", 3)
	if len(parts) == 1 {
		return p.Entry, "", true
	}
	return parts[0], parts[1], pythonInt(parts[1])
}

// gpuDifference tells where the GPU logger does something else with the entry.
// It counts calls before it logs inputs but after them when it logs outputs.
func (p Pattern) gpuDifference() string {
	regex, index, ok := p.gpuReading()
	does := ""
	switch {
	case !ok:
		does = "drops this entry, because of the ':' inside of its regex"
	case regex != p.Regex:
		does = fmt.Sprintf("splits at the first ':' and takes %q, call %s", regex, index)
	case p.Call == 0:
		does = "also logs the inputs of call 1"
	case p.Call > 0:
		does = fmt.Sprintf("logs the outputs of call %d but the inputs of call %d", p.Call, p.Call+1)
	default:
		return ""
	}
	return fmt.Sprintf("module_call_match %q: the GPU logger %s", p.Entry, does)
}

// patternWarnings tells what the GPU logger makes of the entries.
func patternWarnings(patterns []Pattern) []string {
	var out []string
	if patterns != nil && len(patterns) == 0 {
		out = append(out, "module_call_match is an empty list: every module is logged, as with null")
	}
	earlier := map[string]Pattern{}
	for _, p := range patterns {
		if w := p.gpuDifference(); w != "" {
			out = append(out, w)
		}
		regex, _, ok := p.gpuReading()
		if !ok {
			continue
		}
		if e, found := earlier[regex]; found && e.Call != p.Call {
			out = append(out, fmt.Sprintf("module_call_match has %q and %q: here both hold, the GPU logger takes the last one only", e.Entry, p.Entry))
		}
		earlier[regex] = p
	}
	return out
}

// Selection is which calls of a module within a step are logged.
type Selection struct {
	all   bool
	calls []int
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

// Has reports whether the call (0 for the first) is selected.
func (s Selection) Has(call int) bool { return s.all || slices.Contains(s.calls, call) }

// Empty reports whether no call is selected.
func (s Selection) Empty() bool { return !s.all && len(s.calls) == 0 }
