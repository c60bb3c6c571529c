// Package pyregex searches with the patterns of Python's re module (the rules
// of Python 3.11, str patterns).
//
// A pattern is parsed as CPython's Lib/re/_parser.py does and rewritten for
// regexp2, whose own syntax (.NET's) differs: named groups, numbering, \Z,
// {,n}, possessive repeats, what \w and \s hold. What Python refuses is
// refused, also where regexp2 would take it, because the same pattern has to
// work in a Python program.
package pyregex

import (
	"errors"
	"fmt"
	"time"

	"github.com/dlclark/regexp2/v2"
)

// Timeout bounds one search: patterns can backtrack for ever.
const Timeout = time.Second

// Error tells why a pattern is refused.
type Error struct {
	Pattern string
	Offset  int // in characters, as Python counts; -1 for the whole pattern
	Reason  string
}

func (e *Error) Error() string {
	if e.Offset < 0 {
		return e.Reason
	}
	return fmt.Sprintf("%s at position %d", e.Reason, e.Offset)
}

// Regexp is a compiled pattern. It is safe for concurrent use.
type Regexp struct {
	pattern string
	re      *regexp2.Regexp
}

// Compile parses a Python pattern. Its errors are *Error.
func Compile(pattern string) (*Regexp, error) {
	out, err := translate(pattern)
	if err != nil {
		return nil, err
	}
	re, err := regexp2.Compile(out)
	if err != nil {
		return nil, &Error{pattern, -1, fmt.Sprintf("not supported by the regex engine (as %q): %v", out, err)}
	}
	re.MatchTimeout = Timeout
	return &Regexp{pattern, re}, nil
}

// String returns the pattern as it was written.
func (r *Regexp) String() string { return r.pattern }

// Search reports whether the pattern matches anywhere in s, as re.search. An
// error means that the search gave up (time, stack) and the answer is unknown.
func (r *Regexp) Search(s string) (bool, error) {
	ok, err := r.re.MatchString(s)
	switch {
	case err == nil:
		return ok, nil
	case errors.Is(err, regexp2.ErrBacktrackingStackLimit):
		return false, fmt.Errorf("pattern %q on %q: gave up, too much backtracking", r.pattern, s)
	}
	return false, fmt.Errorf("pattern %q on %q: gave up after %v: too much backtracking", r.pattern, s, Timeout)
}
