package tokenizer

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// unicodeForm normalizes as Unicode Standard Annex 15 defines it. Package norm
// also applies the stream-safe format: it puts U+034F into runs of more than
// 30 combining marks. Where it has done so the text is normalized here.
func unicodeForm(form norm.Form, s string) string {
	const joiner = "\u034f"
	n := form.String(s)
	if strings.Count(n, joiner) == strings.Count(s, joiner) {
		return n
	}
	return annex15(form, s)
}

// annex15 is the algorithm of the annex: decompose, order the marks, compose.
func annex15(form norm.Form, s string) string {
	decompose := norm.NFD
	if form == norm.NFKC || form == norm.NFKD {
		decompose = norm.NFKD
	}
	var runes []rune
	for _, r := range s {
		runes = append(runes, []rune(decompose.String(string(r)))...)
	}
	orderMarks(runes)
	if form == norm.NFC || form == norm.NFKC {
		runes = composeMarks(runes)
	}
	return string(runes)
}

func combiningClass(r rune) uint8 { return norm.NFD.PropertiesString(string(r)).CCC() }

// orderMarks sorts each run of combining marks by combining class.
func orderMarks(runes []rune) {
	for lo := 0; lo < len(runes); {
		hi := lo
		for hi < len(runes) && combiningClass(runes[hi]) != 0 {
			hi++
		}
		slices.SortStableFunc(runes[lo:hi], func(a, b rune) int { return int(combiningClass(a)) - int(combiningClass(b)) })
		lo = hi + 1
	}
}

// composeMarks joins each starter with the characters behind it that are not
// blocked from it.
func composeMarks(runes []rune) []rune {
	out := runes[:0]
	starter := -1
	last := uint8(0) // class of what stands between starter and the next character
	for _, r := range runes {
		c := combiningClass(r)
		adjacent := starter == len(out)-1
		if starter >= 0 && (adjacent || last < c) {
			if joined, ok := composePair(out[starter], r); ok {
				out[starter] = joined
				continue
			}
		}
		out = append(out, r)
		last = c
		if c == 0 {
			starter = len(out) - 1
		}
	}
	return out
}

func composePair(a, b rune) (rune, bool) {
	s := norm.NFC.String(string(a) + string(b))
	r, n := utf8.DecodeRuneInString(s)
	return r, n == len(s)
}
