package pyregex

import (
	"fmt"
	"strconv"
	"strings"
)

// What \d, \s and \w hold, as the inside of a character class, so that each
// can be negated and joined to others. Python's \w is str.isalnum() and "_";
// .NET's has marks and other connectors but not all numbers.
const (
	digit       = `\p{Nd}`
	notDigit    = `\P{Nd}`
	space       = `\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`
	notSpace    = `\u0000-\u0008\u000e-\u001b\u0021-\u0084\u0086-\u009f\u00a1-\u167f\u1681-\u1fff\u200b-\u2027\u202a-\u202e\u2030-\u205e\u2060-\u2fff\u3001-` + lastRune
	word        = `\p{L}\p{N}_`
	notWord     = `\p{M}\p{Pd}\p{Ps}\p{Pe}\p{Pi}\p{Pf}\p{Po}\u203f\u2040\u2054\ufe33\ufe34\ufe4d-\ufe4f\uff3f\p{S}\p{Z}\p{C}`
	asciiDigit  = `0-9`
	asciiNotDig = `\u0000-/:-` + lastRune
	asciiSpace  = `\t-\r\u0020`
	asciiNotSp  = `\u0000-\u0008\u000e-\u001f\u0021-` + lastRune
	asciiWord   = `0-9A-Za-z_`
	asciiNotWd  = "\\u0000-/:-@\\[-\\^`\\{-" + lastRune
	lastRune    = "\U0010FFFF"
)

// category returns the inside of a class for \d \D \s \S \w \W, "" for others.
func category(c rune, m *modes) string {
	unicode := map[rune]string{'d': digit, 'D': notDigit, 's': space, 'S': notSpace, 'w': word, 'W': notWord}
	ascii := map[rune]string{'d': asciiDigit, 'D': asciiNotDig, 's': asciiSpace, 'S': asciiNotSp, 'w': asciiWord, 'W': asciiNotWd}
	if m.ascii {
		return ascii[c]
	}
	return unicode[c]
}

// boundary is \b or \B by Python's \w.
func boundary(c rune, m *modes) string {
	w := "[" + category('w', m) + "]"
	if c == 'b' {
		return "(?:(?<=" + w + ")(?!" + w + ")|(?<!" + w + ")(?=" + w + "))"
	}
	// \B does not match in an empty text (until Python 3.14).
	return "(?:(?<=" + w + ")(?=" + w + ")|(?<!" + w + `)(?!` + w + `)(?!\A\z))`
}

// literal is one character that stands for itself.
func literal(c rune) item {
	return item{re: quote(c), lo: 1, hi: 1}
}

// quote writes a character so that it is itself inside and outside of classes.
func quote(c rune) string {
	switch {
	case c < 0x20 || c == 0x7f || c == '-' || 0xd800 <= c && c < 0xe000: // regexp2 misreads \- at the ends of a range
		return fmt.Sprintf(`\u%04x`, c)
	case c < 0x80 && !strings.ContainsRune("_0123456789", c) && (c|0x20 < 'a' || c|0x20 > 'z'):
		return `\` + string(c)
	}
	return string(c)
}

// escape parses an escape outside of a class; its backslash stands at start.
func (p *parser) escape(start int, c rune, m *modes) item {
	switch c {
	case 'A':
		return item{re: `\A`, kind: position}
	case 'Z':
		return item{re: `\z`, kind: position}
	case 'b', 'B':
		return item{re: boundary(c, m), kind: position}
	}
	if s := category(c, m); s != "" {
		return item{re: "[" + s + "]", lo: 1, hi: 1}
	}
	if '1' <= c && c <= '9' {
		return p.numberEscape(start, c)
	}
	return literal(p.charEscape(start, c))
}

// numberEscape parses \ddd: octal with three octal digits, else a group.
func (p *parser) numberEscape(start int, c rune) item {
	const octal = "01234567"
	num := string(c)
	if d := p.while(1, "0123456789"); d != "" {
		num += d
		if strings.Trim(num, octal) == "" {
			if d := p.while(1, octal); d != "" {
				return literal(p.octal(start, num+d))
			}
		}
	}
	n, _ := strconv.Atoi(num)
	if n >= len(p.groups) {
		p.fail(start, "invalid group reference %d", n)
		return item{}
	}
	return p.reference(start, n)
}

func (p *parser) octal(start int, digits string) rune {
	n, _ := strconv.ParseInt(digits, 8, 32)
	if n > 0o377 {
		p.fail(start, `octal escape value \%s outside of range 0-0o377`, digits)
	}
	return rune(n)
}

// charEscape parses an escape of a single character, as both sides know it.
func (p *parser) charEscape(start int, c rune) rune {
	if s, ok := map[rune]rune{'a': '\a', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}[c]; ok {
		return s
	}
	if n := map[rune]int{'x': 2, 'u': 4, 'U': 8}[c]; n > 0 {
		h := p.while(n, "0123456789abcdefABCDEF")
		v, err := strconv.ParseInt(h, 16, 64)
		if len(h) < n {
			p.fail(start, `incomplete escape \%c%s`, c, h)
		} else if err != nil || v > 0x10ffff {
			p.fail(start, `bad escape \%c%s`, c, h)
		}
		return rune(v)
	}
	switch {
	case c == '0':
		return p.octal(start, "0"+p.while(2, "01234567"))
	case c == 'N':
		p.fail(start, `\N{…} is not supported; write the character itself or \uXXXX`)
	case 'a' <= c|0x20 && c|0x20 <= 'z' && c < 0x80, '1' <= c && c <= '9':
		p.fail(start, `bad escape \%c%s`, c, map[rune]string{
			'z': ` (the end of the text is \Z)`, 'Q': ` (quote with backslashes)`,
			'p': ` (Python's re has no Unicode classes)`, 'P': ` (Python's re has no Unicode classes)`,
			'k': ` (a named group is referred to as (?P=name))`,
		}[c])
	}
	return c
}

// class parses a character class whose bracket stands at start.
func (p *parser) class(start int, m *modes) item {
	var b strings.Builder
	b.WriteByte('[')
	if p.accept('^') {
		b.WriteByte('^')
	}
	for n := 0; ; n++ {
		if n > 0 && p.accept(']') {
			break
		}
		at := p.pos
		lo, set := p.member(start, m)
		if p.err != nil {
			break
		}
		if p.peek() != '-' || p.pos+1 < len(p.src) && p.src[p.pos+1] == ']' {
			b.WriteString(set) // the - before ] comes round as a member
			continue
		}
		p.pos++
		hi, _ := p.member(start, m)
		if lo < 0 || hi < lo {
			p.fail(at, "bad character range %s", string(p.src[at:min(p.pos, len(p.src))]))
			break
		}
		b.WriteString(quote(lo) + "-" + quote(hi))
	}
	return item{re: b.String() + "]", lo: 1, hi: 1}
}

// member parses one member of a class: a character (c), or a set (c is -1).
// set is how it is written.
func (p *parser) member(start int, m *modes) (c rune, set string) {
	at := p.pos
	c, escaped := p.next()
	switch {
	case c == eof:
		p.fail(start, "unterminated character set")
		return -1, ""
	case c != '\\':
		return c, quote(c)
	case escaped == 'b':
		return '\b', quote('\b')
	}
	if s := category(escaped, m); s != "" {
		return -1, s
	}
	if '0' <= escaped && escaped <= '7' {
		c = p.octal(at, string(escaped)+p.while(2, "01234567"))
	} else {
		c = p.charEscape(at, escaped)
	}
	return c, quote(c)
}
