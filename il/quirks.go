package il

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Quirks says whose bugs the filter of modules and calls has.
type Quirks string

// The quirks there are.
const (
	// QuirksNone: "regex:2" selects the third call, its inputs and its outputs.
	QuirksNone Quirks = ""

	// QuirksVLLM: what the GPU logger selects, variants A and B alike (vLLM
	// pull request 21215: IntermediateLoggingConfig._compile_regex_patterns and
	// prepare_log_current_fwd). It splits an entry at every ':' and drops one
	// whose second part is no number, so any with (?:…); entries of one regex
	// are one, with the last index; and where no entry is left it logs every
	// module. Its hook for inputs looks at the count of calls before the call is
	// counted: see Selection.Has.
	QuirksVLLM Quirks = "vllm"
)

// ParseQuirks reads the name of quirks: "vllm", or "none" or "" for none.
func ParseQuirks(s string) (Quirks, error) {
	switch q := Quirks(s); q {
	case QuirksNone, QuirksVLLM:
		return q, nil
	case "none":
		return QuirksNone, nil
	}
	return QuirksNone, fmt.Errorf("unknown quirks %q: expected %q, the bugs of the GPU logger's filter", s, QuirksVLLM)
}

// addEntry adds an entry of module_call_match as the quirks read it.
func (c *Config) addEntry(entry string) error {
	if c.Quirks == QuirksVLLM {
		return c.addAsGPU(entry)
	}
	p, err := ParsePattern(entry)
	c.ModuleCallMatch = append(c.ModuleCallMatch, p)
	return err
}

// addAsGPU adds an entry, or drops it, as the GPU logger does, which keeps
// entries in a dict by their regex. A regex that does not compile is an error
// nevertheless: the GPU logger's engine may know more syntax.
func (c *Config) addAsGPU(entry string) error {
	regex, call, ok := gpuReading(entry)
	if !ok {
		c.warn(fmt.Sprintf("module_call_match %q is dropped, as the GPU logger does: what follows the first ':' is no call index", entry))
		return nil
	}
	p, err := newPattern(entry, regex, call)
	if i := slices.IndexFunc(c.ModuleCallMatch, func(q Pattern) bool { return q.Regex == regex }); i >= 0 {
		c.ModuleCallMatch[i] = p
	} else {
		c.ModuleCallMatch = append(c.ModuleCallMatch, p)
	}
	return err
}

// gpuReading is what the GPU logger makes of an entry: it splits at two colons
// and has no use for the third part. ok is false where it drops the entry.
func gpuReading(entry string) (regex string, call int, ok bool) {
	parts := strings.SplitN(entry, ":", 3)
	if len(parts) == 1 {
		return entry, EveryCall, true
	}
	call, ok = pythonInt(parts[1])
	return parts[0], max(call, EveryCall), ok // any negative index is every call
}

var pythonIntText = regexp.MustCompile(`^[-+]?[0-9]+(_[0-9]+)*$`)

// pythonInt is int() of Python for ASCII text: "-1", " 2", "1_0". A number
// that is too large is the largest there is.
func pythonInt(s string) (n int, ok bool) {
	s = strings.TrimSpace(s)
	if !pythonIntText.MatchString(s) {
		return 0, false
	}
	n, _ = strconv.Atoi(strings.ReplaceAll(s, "_", ""))
	return n, true
}

// matchWarnings tells what is odd about module_call_match: with quirks that
// nothing is left of it, without them what the GPU logger makes of it.
func (c *Config) matchWarnings() []string {
	var out []string
	switch {
	case c.ModuleCallMatch == nil:
		return nil
	case len(c.ModuleCallMatch) == 0 && len(c.Warnings) > 0:
		return []string{"module_call_match has no entry left: every module is logged"}
	case len(c.ModuleCallMatch) == 0:
		return []string{"module_call_match is an empty list: every module is logged, as with null"}
	case c.Quirks == QuirksVLLM:
		return nil
	}
	earlier := map[string]Pattern{}
	for _, p := range c.ModuleCallMatch {
		if w := p.gpuDifference(); w != "" {
			out = append(out, w)
		}
		regex, _, ok := gpuReading(p.Entry)
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

// gpuDifference tells where the GPU logger does something else with the entry.
func (p Pattern) gpuDifference() string {
	regex, call, ok := gpuReading(p.Entry)
	does := ""
	switch {
	case !ok:
		does = "drops this entry, because of the ':' inside of its regex"
	case regex != p.Regex:
		does = fmt.Sprintf("splits at the first ':' and takes %q, call %d", regex, call)
	case p.Call == 0:
		does = "also logs the inputs of call 1"
	case p.Call > 0:
		does = fmt.Sprintf("logs the outputs of call %d but the inputs of call %d", p.Call, p.Call+1)
	default:
		return ""
	}
	return fmt.Sprintf("module_call_match %q: the GPU logger %s", p.Entry, does)
}
