package chat

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// exhausting are short templates that cost without end: a chain of doublings
// in a loop, or of a text of a megabyte, put to every operation.
var exhausting = func() []string {
	// a is a list of 2^60 elements in lists, deep a list of 60000 in each
	// other, ring a namespace in itself, long a text of some megabytes.
	nested := "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{% set a = ns.s %}"
	nestedDict := "{% set ns = namespace(s=[1]) %}{% for i in range(30) %}{% set ns.s = {'k': ns.s, 'l': ns.s} %}{% endfor %}{% set a = ns.s %}"
	deep := "{% set ns = namespace(s=[]) %}{% for i in range(60000) %}{% set ns.s = [ns.s] %}{% endfor %}{% set a = ns.s %}"
	ring := "{% set a = namespace(s=1) %}{% set a.s = [a, a] %}"
	direct := "{% set a = namespace(s=1) %}{% set a.s = a %}"
	var out []string
	for i, value := range []string{ring, direct, deep, nested, nestedDict} {
		for k, use := range []string{
			"{{ a }}", "{{ a ~ a }}", "{{ a + 'x' }}", "{{ 'x' + a }}", "{{ a == a }}", "{{ a != a }}", "{{ a in [a] }}", "{{ [a] in [[a]] }}",
			"{{ a < a }}", "{{ a >= 'x' }}", "{{ a % 2 }}", "{{ 1 - a }}", "{{ a is eq a }}", "{{ 1 is in a and a is in [a] }}",
			"{{ [[a]] | select('eq', [a]) | list }}", "{{ raise_exception(a) }}", "{{ strftime_now(a) }}", "{{ range(a) }}",
			"{{ 'x' | trim(a) }}", "{{ 'x' | tojson(indent=a) }}", "{{ 'x'.strip(a, a) }}", "{{ {'x': 1}.get(a) }}", "{{ [a] | first(a) }}",
			"{% for i in [1, 2] %}{{ loop.changed(a) }}{% endfor %}", "{{ a | default(a, a, a) }}", "{{ [a, a] | tojson }}",
		} {
			if i < 3 || k%8 == 0 { // what is wide takes half a second to find out
				out = append(out, value+use)
			}
		}
	}
	long := "{% set ns = namespace(s='abcdefgh') %}{% for i in range(20) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{% set a = ns.s %}"
	for _, use := range []string{
		"{{ a + a + a }}", "{{ [a, a, a] | join }}", "{{ a | replace('a', a) }}", "{{ a | replace('', 'xx') }}", "{{ a.split('a') | join(a) }}",
		"{{ a.strip(a ~ 'é') }}{% for i in range(1000) %}{{ (a ~ 'é').strip(a) }}{% endfor %}",
		"{% for i in range(60000) %}{{ a | length }}{% endfor %}", "{% for i in range(60000) %}{% set x = a[1:] %}{% endfor %}",
		"{% for i in range(60000) %}{% set x = a[::-1] %}{% endfor %}", "{% for i in range(60000) %}{% set x = a | upper %}{% endfor %}",
		"{% for i in range(60000) %}{% set x = a == a ~ '' %}{% endfor %}", "{% for i in range(60000) %}{% set x = a | first %}{% endfor %}",
		"{% for i in range(60000) %}{% set x = 'z' in a %}{% endfor %}", "{% for i in range(60000) %}{% set x = a.split() %}{% endfor %}",
		"{{ a[::1] | tojson(separators=[a, a]) }}{{ [1, 2, 3] | tojson(separators=[a, a]) }}", "{% set x %}{{ a }}{{ a }}{{ a }}{% endset %}",
		"{% for i in range(60000) %}{% set x %}{{ a }}{% endset %}{% endfor %}", "{% set l = [" + strings.Repeat("a,", 2000) + "] %}{{ l }}",
		"{{ " + strings.Repeat("a ~ ", 2000) + "a }}", "{{ strftime_now(a | replace('ab', '%B')) }}{{ strftime_now(a) }}",
		"{% for i in range(60000) %}{% set x = [" + strings.Repeat("1,", 2000) + "] %}{% endfor %}",
		"{% set l = range(60000) %}{% for i in l %}{% if -1 in l %}{% endif %}{% endfor %}",
		"{% set l = range(60000) %}{% for i in l %}{% set x = l + l %}{% endfor %}",
		"{% set l = range(60000) %}{% for i in l %}{% for j in l if false %}{% endfor %}{% endfor %}",
		"{% set l = range(60000) %}{% for i in l %}{% set x = l | select('odd') %}{% endfor %}",
		"{% set l = range(60000) %}{% for i in l %}{% set x = l[::-1] %}{% endfor %}",
		"{% set l = range(60000) %}{% for i in l %}{% set x = l | join %}{% endfor %}",
		"{% set l = range(60000) %}{% for i in l %}{% set x = range(60000) %}{% endfor %}",
		"{% set l = range(60000) %}{{ l | join(l | join(',')) }}", "{% set l = range(60000) | join(',') %}{{ l.split(',') | join(l) }}",
		"{% set l = [" + strings.Repeat("1,", 2000) + "] %}{% for i in range(60000) %}{{ '' if l == l }}{% endfor %}",
		"{% for i in range(60000) %}{% raw %}" + strings.Repeat("x", 60000) + "{% endraw %}{% endfor %}",
		"{% for i in range(60000) %}{% set x = {" + strings.Repeat("1: 2,", 500) + "3: 4}.get('a') %}{% endfor %}",
		"{% for i in range(60000) %}{{ " + strings.Repeat("not ", 30) + strings.Repeat("1 + ", 1000) + "1 }}{% endfor %}",
	} {
		out = append(out, long+use)
	}
	return out
}()

// TestBudget has every operation on values that grow without end, and in loops
// without end. Each ends with what it used up, before it took time or memory.
func TestBudget(t *testing.T) {
	messages := conversation(t, []byte(`[{"role":"user","content":"Hi"}]`))
	for _, template := range exhausting {
		text, err := Render(template, messages, options())
		if err != nil { // a few have an error of their own first, or do not look
			require.Less(t, len(err.Error()), 400)
			continue
		}
		require.LessOrEqual(t, len(text), maxOutput, template)
	}
	for template, want := range map[string]error{
		"{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}":        errTooMuch,
		"{% set a = namespace(s=1) %}{% set a.s = [a, a] %}{{ a.s }}":                                                       errTooDeep,
		"{% set a = namespace(s=1) %}{% set a.s = [a] %}{{ a.s }}":                                                          errTooDeep,
		"{% set ns = namespace(s=[]) %}{% for i in range(60000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s|tojson }}":     errTooDeep,
		"{% set ns = namespace(s=[1]) %}{% for i in range(30) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson }}": errTooMuch,
		"{{ range(60000)|join(range(60000)|join(',')) }}":                                                                   errTooMuch,
		"{% set x %}{% for i in range(60000) %}" + strings.Repeat("x", 60000) + "{% endfor %}{% endset %}":                  errTooMuch,
		"{% for i in range(60000) %}{% for j in range(60000) %}{% if 1 + 1 + 1 == 4 %}{% endif %}{% endfor %}{% endfor %}":  errTooMuch,
		"{% set l = range(60000) %}{% for i in l %}{% if -1 in l %}{% endif %}{% endfor %}":                                 errTooMuch,
	} {
		_, err := Render(template, messages, options())
		require.EqualError(t, err, want.Error(), template)
	}
}

// TestDeepEnough has what real templates do and a budget must allow.
func TestDeepEnough(t *testing.T) {
	var turns []string
	for range 2000 {
		turns = append(turns, `{"role":"user","content":"`+strings.Repeat("a word or two ", 100)+`"},{"role":"assistant","content":"Yes."}`)
	}
	messages := conversation(t, []byte("["+strings.Join(turns, ",")+"]"))
	template := "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('no') }}{% endif %}" +
		"{% set content = m.content.strip() %}{{ '<|' + m.role + '|>' + content.split('</think>')[-1] | trim + eos_token }}{% endfor %}"
	_, err := Render(template, messages, options())
	require.NoError(t, err)
	got, err := Render("{{ 'x'"+strings.Repeat(".strip()", 60)+" }}", messages, options())
	require.NoError(t, err)
	require.Equal(t, "x", got)
}
