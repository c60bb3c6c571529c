package terminal

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Printable escapes, as in a Go string, what a terminal would obey and not
// show: control and format characters, and bytes that are no UTF-8. It is for
// names of files and other text of strangers.
func Printable(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, unprintable) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if c := s[:size]; unprintable(r) || r == utf8.RuneError && size == 1 {
			c = strconv.Quote(c)
			b.WriteString(c[1 : len(c)-1])
		} else {
			b.WriteString(c)
		}
		s = s[size:]
	}
	return b.String()
}

// Cut is the first n bytes of a text, for a message.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

func unprintable(r rune) bool { return !strconv.IsPrint(r) }
