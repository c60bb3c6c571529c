package pyregex

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	eof        = rune(-1)
	maxDepth   = 200           // of nesting; Python's own recursion limit is of this order
	maxWidth   = 1 << 40       // of a subpattern; widths saturate here
	maxRepeat  = 1<<32 - 1     // counts from here on are an error in Python
	engineMost = 1<<31 - 1     // the largest count regexp2 takes
	whitespace = " \t\n\r\v\f" // what verbose patterns skip
)

// kind is what a repeat needs to know of the item before it.
type kind uint8

const (
	plain    kind = iota
	position      // ^ $ \A \Z \b \B: nothing to repeat
	repeated
)

// item is a translated piece that stands as one atom, with the least and the
// most characters it matches.
type item struct {
	re     string
	lo, hi int
	kind   kind
}

// modes are the flags that the translation itself carries out.
type modes struct{ verbose, ascii bool }

// group is a capturing group. It is open until its parenthesis closes.
type group struct {
	lo, hi int
	closed bool
}

type parser struct {
	pattern string
	src     []rune
	pos     int
	err     *Error
	depth   int
	modes   modes  // global
	flags   string // global flags for the engine, of "ims"
	types   string // global 'a' and 'u', which exclude each other
	groups  []group
	names   map[string]int
	conds   map[int]int // group number of a conditional → position
	behind  int         // groups there were before the outermost look-behind; -1 outside
}

// translate rewrites a Python pattern for regexp2's default mode.
func translate(pattern string) (string, error) {
	if !utf8.ValidString(pattern) {
		return "", &Error{pattern, -1, "the pattern is not valid UTF-8"}
	}
	p := &parser{
		pattern: pattern, src: []rune(pattern), groups: make([]group, 1),
		names: map[string]int{}, conds: map[int]int{}, behind: -1,
	}
	if trail := len(pattern) - len(strings.TrimRight(pattern, `\`)); trail%2 == 1 {
		return "", &Error{pattern, len(p.src) - 1, "bad escape (end of pattern)"}
	}
	out := p.alternatives(&p.modes, true).re
	if p.err == nil && p.pos < len(p.src) {
		p.fail(p.pos, "unbalanced parenthesis")
	}
	for _, g := range slices.Sorted(maps.Keys(p.conds)) {
		if g >= len(p.groups) {
			p.fail(p.conds[g], "invalid group reference %d", g)
		}
	}
	if p.err != nil {
		return "", p.err
	}
	if p.flags != "" {
		out = "(?" + p.flags + ":" + out + ")"
	}
	return out, nil
}

// fail keeps the first error and ends the pattern, so that every loop ends.
func (p *parser) fail(at int, format string, args ...any) {
	if p.err == nil {
		p.err = &Error{p.pattern, at, fmt.Sprintf(format, args...)}
	}
	p.pos = len(p.src)
}

func (p *parser) peek() rune {
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return eof
}

// next consumes one token: a character, or a backslash with the one after it,
// which it returns as well.
func (p *parser) next() (c, escaped rune) {
	c = p.peek()
	switch {
	case c == eof:
		return eof, eof
	case c == '\\' && p.pos+1 < len(p.src):
		p.pos += 2
		return c, p.src[p.pos-1]
	}
	p.pos++
	return c, eof
}

// accept consumes c where it comes next.
func (p *parser) accept(c rune) bool {
	if p.peek() != c {
		return false
	}
	p.pos++
	return true
}

// while consumes up to n characters of a set.
func (p *parser) while(n int, set string) string {
	start := p.pos
	for n > 0 && p.pos < len(p.src) && strings.ContainsRune(set, p.src[p.pos]) {
		p.pos++
		n--
	}
	return string(p.src[start:p.pos])
}

// until consumes up to and with the terminator and returns what lies before.
func (p *parser) until(end rune, what string) string {
	start := p.pos
	for p.peek() != end {
		if p.peek() == eof {
			p.fail(start, "missing %c, unterminated %s", end, what)
			return ""
		}
		p.next()
	}
	p.pos++
	if p.pos-1 == start {
		p.fail(start, "missing %s", what)
	}
	return string(p.src[start : p.pos-1])
}

// alternatives parses a|b|c up to a closing parenthesis or the end.
func (p *parser) alternatives(m *modes, top bool) item {
	if p.depth++; p.depth > maxDepth {
		p.fail(p.pos, "nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	all := p.sequence(m, top)
	for p.accept('|') {
		s := p.sequence(m, false)
		all = item{re: all.re + "|" + s.re, lo: min(all.lo, s.lo), hi: max(all.hi, s.hi)}
	}
	return all
}

// sequence parses the items of one alternative.
func (p *parser) sequence(m *modes, first bool) item {
	var items []item
	for {
		c := p.peek()
		if c == eof || c == '|' || c == ')' {
			break
		}
		if m.verbose && p.skipSpace() {
			continue
		}
		start := p.pos
		switch _, escaped := p.next(); c {
		case '\\':
			items = append(items, p.escape(start, escaped, m))
		case '[':
			items = append(items, p.class(start, m))
		case '*', '+', '?', '{':
			items = p.repeat(start, c, items)
		case '.':
			items = append(items, item{re: ".", lo: 1, hi: 1})
		case '^', '$':
			items = append(items, item{re: string(c), kind: position})
		case '(':
			if it, ok := p.group(start, m, first && len(items) == 0); ok {
				items = append(items, it)
			}
		default:
			items = append(items, literal(c))
		}
	}
	var out item
	var b strings.Builder
	for _, it := range items {
		b.WriteString(it.re)
		out.lo, out.hi = min(out.lo+it.lo, maxWidth), min(out.hi+it.hi, maxWidth)
	}
	out.re = b.String()
	return out
}

// skipSpace consumes white space or a comment of a verbose pattern.
func (p *parser) skipSpace() bool {
	if strings.ContainsRune(whitespace, p.peek()) {
		p.pos++
		return true
	}
	if !p.accept('#') {
		return false
	}
	for c, _ := p.next(); c != eof && c != '\n'; {
		c, _ = p.next()
	}
	return true
}

// repeat applies *, +, ?, {m,n} and their lazy and possessive forms to the
// last item. A { that starts no count is a literal.
func (p *parser) repeat(start int, c rune, items []item) []item {
	lo, hi := 0, -1 // -1: without end
	switch c {
	case '?':
		hi = 1
	case '+':
		lo = 1
	case '{':
		var ok bool
		if lo, hi, ok = p.counts(); !ok {
			return append(items, literal('{'))
		}
	}
	if len(items) == 0 || items[len(items)-1].kind == position {
		p.fail(start, "nothing to repeat")
		return items
	}
	it := &items[len(items)-1]
	if it.kind == repeated {
		p.fail(start, "multiple repeat")
		return items
	}
	if lo > engineMost {
		p.fail(start, "the repeat count %d is too large", lo)
		return items
	}
	if hi >= 0 && hi < lo {
		p.fail(start, "min repeat greater than max repeat")
		return items
	}
	count := string(c)
	switch {
	case c == '{' && (hi < 0 || hi > engineMost): // no text is that long
		count = fmt.Sprintf("{%d,}", lo)
	case c == '{':
		count = fmt.Sprintf("{%d,%d}", lo, hi)
	}
	re := it.re + count
	switch {
	case p.accept('?'):
		re += "?"
	case p.accept('+'):
		re = atomic(re)
	}
	*it = item{re: re, lo: times(it.lo, lo), hi: times(it.hi, hi), kind: repeated}
	return items
}

// atomic wraps a piece that gives nothing back. The capture is there for
// regexp2 (v2.12.0): its optimizer makes a bare single-character loop, as in
// (?>a+)?a, atomic together with the repeat around it.
func atomic(re string) string { return "(?>(?<_>" + re + "))" }

// counts parses what follows a {. ok is false, and nothing consumed, where it
// is no count.
func (p *parser) counts() (lo, hi int, ok bool) {
	const digits = "0123456789"
	start := p.pos
	if p.peek() == '}' {
		return 0, 0, false
	}
	first := p.while(len(p.src), digits)
	second := first
	if p.accept(',') {
		second = p.while(len(p.src), digits)
	}
	if !p.accept('}') {
		p.pos = start
		return 0, 0, false
	}
	num := func(s string, missing int) int {
		if s == "" {
			return missing
		}
		n, err := strconv.Atoi(s)
		if err != nil || n >= maxRepeat {
			p.fail(start, "the repetition number is too large")
		}
		return n
	}
	return num(first, 0), num(second, -1), true
}

// times multiplies a width by a count (-1: without end), saturating.
func times(width, count int) int {
	switch {
	case width == 0 || count == 0:
		return 0
	case count < 0 || width > maxWidth/count:
		return maxWidth
	}
	return width * count
}

// identifier reports whether Python takes s as a name (str.isidentifier).
func identifier(s string) bool {
	for i, r := range s {
		ok := r == '_' || unicode.IsLetter(r) || unicode.Is(unicode.Nl, r)
		if i > 0 {
			ok = ok || unicode.In(r, unicode.Nd, unicode.Mn, unicode.Mc, unicode.Pc)
		}
		if !ok {
			return false
		}
	}
	return s != ""
}
