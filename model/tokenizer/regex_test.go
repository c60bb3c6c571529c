package tokenizer

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What the check lets pass means the same to regexp2 as to Oniguruma.
func TestRegex(t *testing.T) {
	cases := []struct {
		pattern, text string
		want          []string
	}{
		{`a++a|.`, "aab", []string{"a", "a", "b"}}, // possessive
		{`a+?`, "aa", []string{"a", "a"}},
		{`(?i:'s)`, "'s'S'ſ", []string{"'s", "'S", "'ſ"}},
		{`\s`, "a\u0085\u00a0\u2028\u200b", []string{"a", "\u0085", "\u00a0", "\u2028", "\u200b"}}, // not the zero-width space
		{`\d+`, "1٣x", []string{"1٣", "x"}},
		{`[\u4e00-\u9fa5]+`, "a你好b", []string{"a", "你好", "b"}},
		{`[^\r\n\p{L}\p{N}]?\p{L}+`, "\nab.cd", []string{"\n", "ab", ".cd"}},
		{`.`, "\n", []string{"\n"}},
		{`x{2,3}`, "xxxxx", []string{"xxx", "xx"}},
		{`\s+(?!\S)`, "a   b", []string{"a", "  ", " b"}},
		{`(?=b)`, "ab", []string{"a", "", "b"}}, // empty matches split too
	}
	for _, c := range cases {
		re, err := compile(c.pattern)
		require.NoError(t, err, c.pattern)
		spans, err := re.matches(nil, c.text)
		require.NoError(t, err)
		var got []string
		for _, s := range spans {
			got = append(got, c.text[s.lo:s.hi])
		}
		require.Equal(t, c.want, got, c.pattern)
	}
}
