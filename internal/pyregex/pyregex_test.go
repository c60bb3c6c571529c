package pyregex

import (
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"
)

type golden struct {
	Texts    []string `json:"texts"`
	Patterns []struct {
		Pattern string `json:"pattern"`
		Error   string `json:"error"`
		Match   string `json:"match"`
	} `json:"patterns"`
}

// knownDifferences are patterns on which this package refuses more than
// Python: its own limits, stated in the errors.
var knownDifferences = map[string]string{
	`\N{DIGIT ONE}`:   `\N{…} is not supported`,
	`[\N{DIGIT ONE}]`: `\N{…} is not supported`,
	`a{4294967294}`:   "the repeat count 4294967294 is too large",
}

// TestAgainstPython runs a table and random patterns that CPython's re was
// asked about (testdata/golden.py).
func TestAgainstPython(t *testing.T) {
	b, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	var g golden
	require.NoError(t, json.Unmarshal(b, &g))
	require.Greater(t, len(g.Patterns), 900)
	for _, p := range g.Patterns {
		re, err := Compile(p.Pattern)
		if want, ok := knownDifferences[p.Pattern]; ok {
			require.ErrorContains(t, err, want)
			continue
		}
		if p.Error != "" {
			if err == nil {
				t.Errorf("%q: taken, but Python says: %s", p.Pattern, p.Error)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: refused, but Python takes it: %v", p.Pattern, err)
			continue
		}
		var got strings.Builder
		for _, text := range g.Texts {
			ok, err := re.Search(text)
			require.NoError(t, err)
			if ok {
				got.WriteByte('1')
			} else {
				got.WriteByte('0')
			}
		}
		for i := range g.Texts {
			if got.String()[i] != p.Match[i] {
				out, _ := translate(p.Pattern)
				t.Errorf("%q (as %q) on %q: got %c, Python %c", p.Pattern, out, g.Texts[i], got.String()[i], p.Match[i])
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	for pattern, want := range map[string]string{
		`a\p{L}`:                 `bad escape \p (Python's re has no Unicode classes) at position 1`,
		`a\z`:                    `bad escape \z (the end of the text is \Z) at position 1`,
		`\Qa.b\E`:                `bad escape \Q (quote with backslashes) at position 0`,
		`(?<n>a)`:                `unknown extension ?<n (a named group is (?P<name>…)) at position 1`,
		`(?<=a+)b`:               `look-behind requires fixed-width pattern at position 0`,
		`a(?i)b`:                 `global flags not at the start of the expression (for a part of it write (?i:…)) at position 1`,
		`(?P<n>a)(?P<n>b)`:       `redefinition of group name 'n' as group 2; was group 1 at position 8`,
		`layers.[0-`:             `unterminated character set at position 7`,
		`(a`:                     `missing ), unterminated subpattern at position 0`,
		`a)`:                     `unbalanced parenthesis at position 1`,
		`*a`:                     `nothing to repeat at position 0`,
		`a**`:                    `multiple repeat at position 2`,
		`é\`:                     `bad escape (end of pattern) at position 1`,
		`\N{DIGIT ONE}`:          `\N{…} is not supported; write the character itself or \uXXXX at position 0`,
		"a\xff":                  `the pattern is not valid UTF-8`,
		strings.Repeat("(", 300): `nested more than 200 deep at position 200`,
	} {
		_, err := Compile(pattern)
		require.EqualError(t, err, want, "%q", pattern)
		var e *Error
		require.ErrorAs(t, err, &e)
	}
}

// TestGivesUp: a search that never ends is an error, not a mismatch.
func TestGivesUp(t *testing.T) {
	re, err := Compile(`^(\w+_?)+$`)
	require.NoError(t, err)
	ok, err := re.Search(strings.Repeat("a", 60) + ".")
	require.False(t, ok)
	require.ErrorContains(t, err, `pattern "^(\\w+_?)+$" on "aaa`)
	require.ErrorContains(t, err, "too much backtracking")
}

// FuzzCompile: no pattern makes the translator or the engine panic, and what
// the translator writes is always a pattern that the engine takes.
func FuzzCompile(f *testing.F) {
	for _, p := range []string{
		`layers\.0\.(?!.*rotary_emb).*`, `(?P<a>x)(?P=a)`, `(?<=ab)[^\W\d-]{2,}+`, `(?aix-s: a # b` + "\n)", `(?(1)a|b)(c)`, `\377[\b-\x41]{,3}?`,
	} {
		f.Add(p, "model.layers.0.mlp")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		out, err := translate(pattern)
		if err != nil {
			return
		}
		re, err := Compile(pattern)
		if err != nil {
			t.Fatalf("%q is translated as %q, which the engine refuses: %v", pattern, out, err)
		}
		if len(pattern)+len(text) < 60 { // longer ones may take their full second
			_, _ = re.Search(text)
		}
	})
}
