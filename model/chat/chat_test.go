package chat

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// result is what transformers made of a template.
type result struct {
	Text    *string
	Refused string
}

type golden struct {
	Conversations map[string]json.RawMessage
	Templates     map[string]map[string][2]result
	Expressions   [][2]json.RawMessage
	Spaces        [][2]json.RawMessage
}

func readGolden(t *testing.T) golden {
	b, err := os.ReadFile(filepath.Join("testdata", "golden.json"))
	require.NoError(t, err)
	var g golden
	require.NoError(t, json.Unmarshal(b, &g))
	return g
}

func options() Options {
	bos, eos := "<s>", "</s>"
	return Options{BOSToken: &bos, EOSToken: &eos, AddGenerationPrompt: true, Now: time.Date(2026, 11, 3, 4, 5, 6, 0, time.UTC)}
}

func conversation(t *testing.T, raw []byte) []Message {
	m, err := ParseMessages(raw)
	require.NoError(t, err)
	return m
}

// TestTemplates renders the forms of the public models' templates.
func TestTemplates(t *testing.T) {
	g := readGolden(t)
	require.Len(t, g.Templates, 8)
	for file, results := range g.Templates {
		template, err := os.ReadFile(filepath.Join("testdata", "templates", file))
		require.NoError(t, err)
		for name, both := range results {
			for i, want := range both {
				opts := options()
				opts.AddGenerationPrompt = i == 0
				got, err := Render(string(template), conversation(t, g.Conversations[name]), opts)
				if want.Text != nil {
					require.NoError(t, err, "%s %s", file, name)
					require.Equal(t, *want.Text, got, "%s %s", file, name)
					continue
				}
				require.Error(t, err, "%s %s: Jinja: %s", file, name, want.Refused)
				var refused *Error
				if errors.As(err, &refused) {
					require.Equal(t, want.Refused, refused.Message, "%s %s", file, name)
				}
			}
		}
	}
}

// TestExpressions compares single constructs. What is not supported may be
// refused, and a few things that Jinja refuses are known to be taken; what is
// rendered by both is the same.
func TestExpressions(t *testing.T) {
	g := readGolden(t)
	unsupported := map[string]bool{
		"{{ messages | map(attribute='role') | list }}": true,
		"{{ 'it' 's' }}": true,
		"{% if not tools %}a{% endif %}{% if nope %}b{% endif %}{% if '' or [] or {} or 0 or none %}c{% endif %}": true,
	}
	lax := map[string]bool{"{{ 'a' + 1 }}": true}
	for _, pair := range g.Expressions {
		var template string
		var want result
		require.NoError(t, json.Unmarshal(pair[0], &template))
		require.NoError(t, json.Unmarshal(pair[1], &want))
		got, err := Render(template, conversation(t, g.Conversations["turns"]), options())
		switch {
		case lax[template]:
			require.NoError(t, err, template)
		case want.Text == nil || unsupported[template]:
			require.Error(t, err, template)
		default:
			require.NoError(t, err, template)
			require.Equal(t, *want.Text, got, template)
		}
	}
}

// TestSpaces has random white space around and between tags.
func TestSpaces(t *testing.T) {
	g := readGolden(t)
	for _, pair := range g.Spaces {
		var template string
		var want result
		require.NoError(t, json.Unmarshal(pair[0], &template))
		require.NoError(t, json.Unmarshal(pair[1], &want))
		got, err := Render(template, nil, options())
		require.NoError(t, err, "%q", template)
		require.Equal(t, *want.Text, got, "%q", template)
	}
}

// TestHostile has templates that would run for ever, eat all memory, or end
// the process. Each is an error, soon.
func TestHostile(t *testing.T) {
	for template, want := range map[string]string{
		"{{" + strings.Repeat("(", 60000):                                                                        "nested too deeply",
		"{{ " + strings.Repeat("not ", 15000) + "x }}":                                                           "nested too deeply",
		"{{ " + strings.Repeat("-", 60000) + "1 }}":                                                              "nested too deeply",
		"{{ " + strings.Repeat("[", 60000):                                                                       "nested too deeply",
		strings.Repeat("{% if x %}", 6000):                                                                       "nested too deeply",
		"{{ 'x'" + strings.Repeat("|trim", 9000) + " }}":                                                         "nested too deeply",
		strings.Repeat("x", 65537):                                                                               "it has 65537 bytes: expected at most 65536",
		"{% for i in range(10000000000) %}a{% endfor %}":                                                         "it needs more than",
		"{% for i in range(60000) %}{% for j in range(60000) %}{% endfor %}{% endfor %}":                         "it needs more than",
		"{% for i in range(60000) %}{% for j in range(60000) %}x{% endfor %}{% endfor %}":                        "it needs more than",
		"{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}": "it needs more than",
		"{{ 'x' * 100000000000 }}":                                                                               "the operator * is not supported",
		"{{ 1 // 0 }}":                                                                                           "the operator // is not supported",
		"{{ 1 % 0 }}":                                                                                            "the template engine failed: runtime error: integer divide by zero",
		"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}":                                                        "'macro' not found",
		"{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}":                                                "a recursive for loop is not supported",
		"{% include '/etc/passwd' %}":                                                                            "'include' not found",
	} {
		_, err := Render(template, conversation(t, []byte(`[{"role":"user","content":"Hi"}]`)), options())
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
		require.Less(t, len(err.Error()), 400)
	}
}

func TestRefused(t *testing.T) {
	messages := conversation(t, []byte(`[{"role":"user","content":"Hi"}]`))
	for template, want := range map[string]string{
		"a\n{% if":                                 "line 2: ",
		"{{ 'abc":                                  "not readable as a template: ",
		"a\n{% if x %}":                            "Unexpected EOF",
		"{{ x|nosuch }}":                           "filter 'nosuch' not found",
		"{% if x is nosuch %}{% endif %}":          "test 'nosuch' not found",
		"{{ 'a'.nosuch() }}":                       "unknown method 'nosuch'",
		"{{ 1|trim }}":                             "filter trim: expected a text, found a number",
		"{{ 'é'.upper() }}":                        "method upper: of the character 'é' is not supported",
		"{% for c in 'ab' %}{% endfor %}":          "a for loop over the characters of a text is not supported",
		"{{ strftime_now('%q') }}":                 `strftime_now("%q"): %q is not supported`,
		"{{ range('a') }}":                         `range(): expected integers, found "a"`,
		"{{ '}} {% x' }} {% if true %}{% endif %}": "a text in it looks like tags",
	} {
		_, err := Render(template, messages, options())
		require.ErrorContains(t, err, want, template)
	}
	_, err := Render("{{ bos_token }}", messages, Options{})
	require.EqualError(t, err, "it uses bos_token, which tokenizer_config.json does not give")
}

func TestParseMessages(t *testing.T) {
	for in, want := range map[string]string{
		`{"role":"user"}`:                   "expected a list of messages",
		`[]`:                                "the list of messages is empty",
		`[1]`:                               "message 0: expected an object",
		`[{"content":"x"}]`:                 `message 0: expected a "role" that is a text`,
		`[{"role":"user"}]`:                 `message 0: expected a "content" that is a text`,
		`[{"role":"user","content":["x"]}]`: `message 0: expected a "content" that is a text`,
		`[{"role":"user","content":"x","n":99999999999999999999}]`: "the number 99999999999999999999 is out of range",
		`[{"role":"a","role":"b","content":"x"}]`:                  "duplicate",
		`[`:                                 "EOF",
		`[{"role":"user","content":"x"}] 1`: "there is more after the JSON value",
	} {
		_, err := ParseMessages([]byte(in))
		require.ErrorContains(t, err, want, in)
	}
}

// FuzzRender has any template: an error or a text within the budget, never a
// crash.
func FuzzRender(f *testing.F) {
	for _, s := range []string{"{{ messages[0].content | trim }}", "{% for m in messages %}{{ m.role }}{% endfor %}", "{%- set x = 1 -%}", "{# c #}"} {
		f.Add(s)
	}
	for _, s := range exhausting {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, template string) {
		m := conversation(t, []byte(`[{"role":"user","content":"Hi"}]`))
		text, _ := Render(template, m, options())
		require.LessOrEqual(t, len(text), maxOutput)
	})
}
