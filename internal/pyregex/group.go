package pyregex

import (
	"fmt"
	"strconv"
	"strings"
)

// group parses what follows an opening parenthesis at start. ok is false where
// it leaves no item: comments and global flags.
func (p *parser) group(start int, m *modes, first bool) (it item, ok bool) {
	if !p.accept('?') {
		return p.capture(start, "", m), true
	}
	c, _ := p.next()
	switch c {
	case eof:
		p.fail(p.pos, "unexpected end of pattern")
	case 'P':
		return p.named(start, m), true
	case ':':
		return p.body(start, "(?:", m), true
	case '>':
		it := p.content(start, m)
		it.re = atomic(it.re)
		return it, true
	case '#':
		p.comment(start)
		return item{}, false
	case '=', '!':
		return p.look(start, "(?"+string(c), m), true
	case '<':
		return p.lookBehind(start, m), true
	case '(':
		return p.conditional(start, m), true
	default:
		if strings.ContainsRune("iLmsxau-", c) {
			return p.inlineFlags(start, c, m, first)
		}
		p.fail(start+1, "unknown extension ?%c", c)
	}
	return item{}, false
}

// content parses the alternatives of a group and its closing parenthesis.
func (p *parser) content(start int, m *modes) item {
	it := p.alternatives(m, false)
	if !p.accept(')') {
		p.fail(start, "missing ), unterminated subpattern")
	}
	return it
}

// body is content with the parentheses of the engine's syntax around it.
func (p *parser) body(start int, open string, m *modes) item {
	it := p.content(start, m)
	it.re = open + it.re + ")"
	return it
}

// capture parses a capturing group. Groups are numbered in order of their
// parentheses, as Python does; .NET would number named groups last, so every
// group is written with its number.
func (p *parser) capture(start int, name string, m *modes) item {
	n := len(p.groups)
	p.groups = append(p.groups, group{})
	if name != "" {
		if old, ok := p.names[name]; ok {
			p.fail(start, "redefinition of group name '%s' as group %d; was group %d", name, n, old)
		}
		p.names[name] = n
	}
	it := p.body(start, fmt.Sprintf("(?<%d>", n), m)
	p.groups[n] = group{it.lo, it.hi, true}
	return it
}

// named parses (?P<name>…) and (?P=name).
func (p *parser) named(start int, m *modes) item {
	switch c, _ := p.next(); c {
	case '<':
		if name := p.until('>', "group name"); p.validName(name) {
			return p.capture(start, name, m)
		}
	case '=':
		name := p.until(')', "group name")
		if !p.validName(name) {
			break
		}
		n, ok := p.names[name]
		if !ok {
			p.fail(start, "unknown group name '%s'", name)
			break
		}
		return p.reference(start, n)
	case eof:
		p.fail(p.pos, "unexpected end of pattern")
	default:
		p.fail(start+1, "unknown extension ?P%c", c)
	}
	return item{}
}

func (p *parser) validName(name string) bool {
	if p.err == nil && !identifier(name) {
		p.fail(p.pos-len([]rune(name))-1, "bad character in group name '%s'", name)
	}
	return p.err == nil
}

// reference is what group n matched.
func (p *parser) reference(start, n int) item {
	p.checkBehind(start, n)
	if n >= len(p.groups) {
		p.fail(start, "invalid group reference %d", n)
		return item{}
	}
	g := p.groups[n]
	if !g.closed {
		p.fail(start, "cannot refer to an open group")
	}
	return item{re: fmt.Sprintf(`\k<%d>`, n), lo: g.lo, hi: g.hi}
}

// checkBehind refuses references to groups of the same look-behind.
func (p *parser) checkBehind(at, n int) {
	if p.behind < 0 {
		return
	}
	if n >= len(p.groups) || !p.groups[n].closed {
		p.fail(at, "cannot refer to an open group")
	} else if n >= p.behind {
		p.fail(at, "cannot refer to group defined in the same lookbehind subpattern")
	}
}

func (p *parser) comment(start int) {
	for {
		switch c, _ := p.next(); c {
		case ')':
			return
		case eof:
			p.fail(start, "missing ), unterminated comment")
			return
		}
	}
}

// look parses the rest of a look-around: it has no width.
func (p *parser) look(start int, open string, m *modes) item {
	return item{re: p.body(start, open, m).re}
}

func (p *parser) lookBehind(start int, m *modes) item {
	c, _ := p.next()
	if c != '=' && c != '!' {
		if c == eof {
			p.fail(p.pos, "unexpected end of pattern")
		}
		p.fail(start+1, "unknown extension ?<%c (a named group is (?P<name>…))", c)
		return item{}
	}
	outer := p.behind
	if outer < 0 {
		p.behind = len(p.groups)
	}
	it := p.body(start, "(?<"+string(c), m)
	p.behind = outer
	if it.lo != it.hi || it.hi >= maxRepeat {
		p.fail(start, "look-behind requires fixed-width pattern")
	}
	return item{re: it.re}
}

// conditional parses (?(id)yes|no), id a number or a name.
func (p *parser) conditional(start int, m *modes) item {
	at := p.pos
	id := p.until(')', "group name")
	if p.err != nil {
		return item{}
	}
	n, known := p.names[id]
	switch {
	case known:
	case identifier(id):
		p.fail(at, "unknown group name '%s'", id)
	case strings.Trim(id, "0123456789") != "":
		p.fail(at, "bad character in group name '%s'", id)
	default:
		var err error
		if n, err = strconv.Atoi(id); err != nil || n > engineMost {
			p.fail(at, "invalid group reference %s", id)
		} else if n == 0 {
			p.fail(at, "bad group number")
		}
		p.conds[n] = at
	}
	p.checkBehind(at, n)
	yes := p.nested(m)
	no := item{}
	if p.accept('|') {
		no = p.nested(m)
		if p.peek() == '|' {
			p.fail(p.pos, "conditional backref with more than two branches")
		}
	}
	if !p.accept(')') {
		p.fail(start, "missing ), unterminated subpattern")
	}
	return item{
		re: fmt.Sprintf("(?(%d)%s|%s)", n, yes.re, no.re),
		lo: min(yes.lo, no.lo), hi: max(yes.hi, no.hi),
	}
}

// nested is a sequence one level deeper.
func (p *parser) nested(m *modes) item {
	if p.depth++; p.depth > maxDepth {
		p.fail(p.pos, "nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	return p.sequence(m, false)
}

// inlineFlags parses (?aimsux), which must come first and holds for the whole
// pattern, and (?aimsux-imsx:…).
func (p *parser) inlineFlags(start int, c rune, m *modes, first bool) (item, bool) {
	var on, off string
	if c != '-' {
		p.pos--
		on = p.flagLetters("iLmsxau")
		if strings.Contains(on, "L") {
			p.fail(start, "bad inline flags: cannot use 'L' flag with a str pattern")
		}
		if strings.Contains(on, "a") && strings.Contains(on, "u") {
			p.fail(start, "bad inline flags: flags 'a', 'u' and 'L' are incompatible")
		}
		if c, _ = p.next(); c == ')' {
			p.globalFlags(start, on, m, first)
			return item{}, false
		}
	}
	if c == '-' {
		off = p.flagLetters("iLmsxau")
		if strings.ContainsAny(off, "aLu") {
			p.fail(start, "bad inline flags: cannot turn off flags 'a', 'u' and 'L'")
		}
		if off == "" {
			p.fail(p.pos, "missing flag")
		}
		c, _ = p.next()
	}
	if c != ':' {
		p.fail(p.pos, "unknown flag, or missing -, : or )")
	}
	if strings.ContainsAny(on, off) {
		p.fail(start, "bad inline flags: flag turned on and off")
	}
	inner := *m
	inner.verbose = (m.verbose || strings.Contains(on, "x")) && !strings.Contains(off, "x")
	inner.ascii = (m.ascii || strings.Contains(on, "a")) && !strings.Contains(on, "u")
	open := "(?" + engineFlags(on)
	if o := engineFlags(off); o != "" {
		open += "-" + o
	}
	return p.body(start, open+":", &inner), true
}

func (p *parser) flagLetters(set string) string { return p.while(len(p.src), set) }

func (p *parser) globalFlags(start int, on string, m *modes, first bool) {
	if !first {
		p.fail(start, "global flags not at the start of the expression (for a part of it write (?%s:…))", on)
		return
	}
	for _, f := range on {
		if strings.ContainsRune("au", f) && !strings.ContainsRune(p.types, f) {
			p.types += string(f)
		}
	}
	if len(p.types) > 1 {
		p.fail(start, "ASCII and UNICODE flags are incompatible")
	}
	p.flags = engineFlags(p.flags + on)
	m.verbose = m.verbose || strings.Contains(on, "x")
	m.ascii = m.ascii || strings.Contains(on, "a")
}

// engineFlags picks the flags that regexp2 carries out, each once.
func engineFlags(letters string) string {
	var s string
	for _, f := range "ims" {
		if strings.ContainsRune(letters, f) {
			s += string(f)
		}
	}
	return s
}
