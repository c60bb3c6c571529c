package tokenizer

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

// On runs of marks that package norm leaves alone, its result is ours.
func TestAnnex15(t *testing.T) {
	starters := []rune("aAoeKs ơŒﬁÅ가각각ब़\u0344\u2126ſ한\u1100\u0b47")
	marks := []rune("\u0300\u0301\u0302\u0308\u030a\u031b\u0323\u0327\u0328\u0345\u0653\u3099\u09d7\u0b3e\u11a8\u1161\u094d\u0fb5")
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOfN(rapid.SampledFrom(append(marks, starters...)), 0, 12).Draw(t, "text"))
		for _, form := range []norm.Form{norm.NFC, norm.NFD, norm.NFKC, norm.NFKD} {
			require.Equal(t, form.String(text), annex15(form, text), "%+q", text)
		}
	})
}

// A run of more marks stays a run: no U+034F inside.
func TestManyMarks(t *testing.T) {
	marks := strings.Repeat("\u0323\u0301", 40)
	require.Equal(t, "\u1ea1"+strings.Repeat("\u0323", 39)+strings.Repeat("\u0301", 40), unicodeForm(norm.NFC, "a"+marks))
	require.Equal(t, 81, utf8.RuneCountInString(unicodeForm(norm.NFD, "a"+marks)))
}
