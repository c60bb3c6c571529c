package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// byteLevelOptions are those of the ByteLevel component in all its roles.
type byteLevelOptions struct {
	Type           string `json:"type"`
	AddPrefixSpace bool   `json:"add_prefix_space"`
	TrimOffsets    bool   `json:"trim_offsets"` // of no effect on ids
	UseRegex       bool   `json:"use_regex"`
}

// byteChars are the printable characters that stand for the bytes, GPT-2's
// bytes_to_unicode: printable Latin-1 for itself, the others from U+0100 on.
var byteChars, charBytes = func() (chars [256]string, bytes map[rune]byte) {
	bytes = map[rune]byte{}
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if b < '!' || b > '~' && b < 0xa1 || b == 0xad {
			r = next
			next++
		}
		chars[b], bytes[r] = string(r), byte(b)
	}
	return chars, bytes
}()

func bytesToChars(s string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/4)
	for i := range len(s) {
		b.WriteString(byteChars[s[i]])
	}
	return b.String()
}

// charsToBytes undoes bytesToChars; a token with any other character stands
// for itself.
func charsToBytes(dst []byte, token string) []byte {
	n := len(dst)
	for _, r := range token {
		b, ok := charBytes[r]
		if !ok {
			return append(dst[:n], token...)
		}
		dst = append(dst, b)
	}
	return dst
}

// lossyUTF8 makes text of bytes, with U+FFFD for each maximal part of an
// invalid sequence (Unicode 3.9, as Rust's from_utf8_lossy).
func lossyUTF8(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = invalidLen(b)
		}
		s.WriteRune(r)
		b = b[n:]
	}
	return s.String()
}

// invalidLen returns the bytes at the start of b that begin a character but do
// not complete one; at least 1.
func invalidLen(b []byte) int {
	lo, hi := byte(0x80), byte(0xbf) // bounds of the second byte
	more := 0
	switch c := b[0]; {
	case c >= 0xe0 && c <= 0xef:
		more = 1
		if c == 0xe0 {
			lo = 0xa0
		} else if c == 0xed {
			hi = 0x9f
		}
	case c >= 0xf0 && c <= 0xf4:
		more = 2
		if c == 0xf0 {
			lo = 0x90
		} else if c == 0xf4 {
			hi = 0x8f
		}
	}
	n := 1
	for n <= more && n < len(b) && b[n] >= lo && b[n] <= hi {
		lo, hi = 0x80, 0xbf
		n++
	}
	return n
}
