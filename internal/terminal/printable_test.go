package terminal

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"":                          "",
		`model.norm "x" \ é … 名`:    `model.norm "x" \ é … 名`,
		"a\x1b[31mred\x1b[0m":       `a\x1b[31mred\x1b[0m`,
		"line\nline\r\t\x00\x7f":    `line\nline\r\t\x00\x7f`,
		"\xff\xfeé\xc3":             `\xff\xfeé\xc3`,
		"\u202egnp.exe\u200b\u009b": `\u202egnp.exe\u200b\u009b`,
		"\ufffd":                    "\ufffd", // a character, not a broken byte
	} {
		require.Equal(t, want, Printable(s), "%q", s)
	}
}
