package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// span is a part of a text in bytes: a match of a pattern, or what lies
// between two matches.
type span struct {
	lo, hi int
	match  bool
}

// finder appends the spans of a text: matches and the gaps between them, in
// order, covering all of it.
type finder func([]span, string) ([]span, error)

// spanList collects matches and adds the gaps.
type spanList struct {
	spans []span
	end   int
}

func (l *spanList) match(lo, hi int) {
	l.gap(lo)
	l.spans = append(l.spans, span{lo, hi, true})
	l.end = hi
}

func (l *spanList) gap(hi int) {
	if l.end != hi {
		l.spans = append(l.spans, span{l.end, hi, false})
	}
}

func stringMatches(s string) finder {
	return func(spans []span, text string) ([]span, error) {
		l := spanList{spans: spans}
		for {
			i := strings.Index(text[l.end:], s)
			if i < 0 {
				break
			}
			l.match(l.end+i, l.end+i+len(s))
		}
		l.gap(len(text))
		return l.spans, nil
	}
}

func runeMatches(is func(rune) bool) finder {
	return func(spans []span, text string) ([]span, error) {
		l := spanList{spans: spans}
		for i, r := range text {
			if is(r) {
				l.match(i, i+utf8.RuneLen(r))
			}
		}
		l.gap(len(text))
		return l.spans, nil
	}
}

func inverted(find finder) finder {
	return func(spans []span, text string) ([]span, error) {
		spans, err := find(spans, text)
		for i := range spans {
			spans[i].match = !spans[i].match
		}
		return spans, err
	}
}

// behavior says what becomes of the matches: the parts of the text to keep. It
// may overwrite its argument (tokenizers 0.23, NormalizedString::split).
type behavior func([]span) []span

func (l *loader) behavior(name, path string) (behavior, error) {
	b := map[string]behavior{
		"Isolated": isolated, "Removed": removed, "Contiguous": contiguous,
		"MergedWithPrevious": mergedWithPrevious, "MergedWithNext": mergedWithNext,
	}[name]
	if b == nil {
		return nil, l.errorf(path, "behavior is %q, expected Isolated, Removed, Contiguous, MergedWithPrevious or MergedWithNext", name)
	}
	return b, nil
}

func isolated(s []span) []span { return s }

func removed(s []span) []span {
	out := s[:0]
	for _, x := range s {
		if !x.match {
			out = append(out, x)
		}
	}
	return out
}

// contiguous joins neighbours of the same kind.
func contiguous(s []span) []span {
	return joinLeft(s, func(x span, previous bool) bool { return x.match == previous })
}

func mergedWithPrevious(s []span) []span {
	return joinLeft(s, func(x span, previous bool) bool { return x.match && !previous })
}

// joinLeft joins each span to the one on its left where the rule says so,
// given whether that one was a match (false at the start).
func joinLeft(s []span, join func(x span, previous bool) bool) []span {
	out, previous := s[:0], false
	for _, x := range s {
		if join(x, previous) && len(out) > 0 {
			out[len(out)-1].hi = x.hi
		} else {
			out = append(out, x)
		}
		previous = x.match
	}
	return out
}

// mergedWithNext joins each match that is not followed by another to the gap
// on its right.
func mergedWithNext(s []span) []span {
	out := s[len(s):len(s):len(s)]
	next := false
	for i := len(s) - 1; i >= 0; i-- {
		x := s[i]
		if x.match && !next && len(out) > 0 {
			out[0].lo = x.lo
		} else {
			// grow to the left, in place
			out = s[len(s)-len(out)-1:]
			out[0] = x
		}
		next = x.match
	}
	return out
}
