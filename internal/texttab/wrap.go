package texttab

import (
	"strings"
	"unicode/utf8"
)

const hang = "    "

// Wrap breaks a line at its spaces where it is wider than width; what follows is
// indented by four more. Words are never cut. width 0 is unlimited.
func Wrap(line string, width int) string {
	if width <= 0 || columns(line) <= width {
		return line
	}
	text := strings.TrimLeft(line, " ")
	indent := line[:len(line)-len(text)]
	var b strings.Builder
	b.WriteString(indent)
	at, first := len(indent), true
	for word := range strings.SplitSeq(text, " ") {
		n := columns(word)
		switch {
		case first:
		case at+1+n > width:
			b.WriteString("\n" + indent + hang)
			at = len(indent) + len(hang)
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at, first = at+n, false
	}
	return b.String()
}

// columns is how wide text is, less the sequences of Paint.
func columns(s string) int {
	n := utf8.RuneCountInString(s)
	for {
		_, rest, ok := strings.Cut(s, "\x1b[")
		if !ok {
			return n
		}
		style, after, _ := strings.Cut(rest, "m")
		n -= len("\x1b[") + len(style) + len("m")
		s = after
	}
}
