package tokenizer

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// regex is a pattern that the reference runs on Oniguruma and we on regexp2.
// compile refuses what the two read differently.
type regex struct {
	re    *regexp2.Regexp
	mu    sync.Mutex
	runes []rune
}

// matchTimeout ends a pattern that backtracks without end.
const matchTimeout = 3 * time.Second

func compile(pattern string) (*regex, error) {
	if err := checkPattern(pattern); err != nil {
		return nil, fmt.Errorf("regex %q: %w", pattern, err)
	}
	re, err := regexp2.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("regex %q: %w", pattern, err)
	}
	re.MatchTimeout = matchTimeout
	return &regex{re: re}, nil
}

// gpt2Words is the pattern of ByteLevel with use_regex, GPT-2's.
var gpt2Words = sync.OnceValue(func() *regex {
	re, err := compile(`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`)
	if err != nil {
		panic(err) // a constant
	}
	return re
})

// matches is the finder of the pattern.
func (r *regex) matches(spans []span, text string) ([]span, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runes = r.runes[:0]
	for _, c := range text {
		r.runes = append(r.runes, c)
	}
	l := spanList{spans: spans}
	at, rune0 := 0, 0 // byte and rune index of what is already counted
	byteAt := func(i int) int {
		for ; rune0 < i; rune0++ {
			at += utf8.RuneLen(r.runes[rune0])
		}
		return at
	}
	err := r.re.FindRunesMatches(r.runes, 0, func(m regexp2.MatchView) bool {
		i, n, _ := m.GroupRange(0)
		lo := byteAt(i)
		l.match(lo, byteAt(i+n))
		return true
	})
	if err != nil {
		// The one error there is; the package's own quotes the whole text.
		return nil, fmt.Errorf("regex %q: to match the text takes more than %v", r.re.String(), matchTimeout)
	}
	l.gap(len(text))
	return l.spans, nil
}

var (
	// Elements that Oniguruma (in Ruby's syntax, as the reference uses it) and
	// regexp2 read alike. Properties are checked by name.
	sameEscape     = regexp.MustCompile(`^\\(?:[pP]\{(\w+)\}|[sSdDrntf]|u[0-9A-Fa-f]{4}|x[0-7][0-9A-Fa-f]|[!-/:-@\[-\x60{-~])`)
	sameQuantifier = regexp.MustCompile(`^(?:[*+?][+?]?|\{\d+(,\d*)?\})`)
	sameGroup      = regexp.MustCompile(`^\((\?:|\?=|\?!|\?<=|\?<!|\?>)?`)
	// Case is ignored only in plain alternatives, and not where a pair of
	// letters is also a single one (ß, ﬁ, ﬆ …), which regexp2 does not know.
	caseGroup = regexp.MustCompile(`^\(\?i:([a-zA-Z'|]*)\)`)
	foldPairs = regexp.MustCompile(`(?i)ss|ff|fi|fl|st`)
)

// checkPattern refuses everything outside the common ground of both engines.
func checkPattern(p string) error {
	for i := 0; i < len(p); {
		n, err := element(p[i:])
		if err != nil {
			return fmt.Errorf("%w at byte %d", err, i)
		}
		i += n
	}
	return nil
}

func element(p string) (int, error) {
	switch p[0] {
	case '\\':
		return escape(p)
	case '[':
		return class(p)
	case '(':
		if m := caseGroup.FindStringSubmatch(p); m != nil && !foldPairs.MatchString(m[1]) {
			return len(m[0]), nil
		}
		g := sameGroup.FindString(p)
		if g == "(" && strings.HasPrefix(p, "(?") {
			return 0, fmt.Errorf("the group %.4q is not supported", p)
		}
		return len(g), nil
	case '{', '*', '+', '?':
		q := sameQuantifier.FindString(p)
		if q == "" || len(p) > len(q) && strings.ContainsRune("{*+?", rune(p[len(q)])) {
			return 0, fmt.Errorf("the quantifier %.4q is not supported", p)
		}
		return len(q), nil
	case '^', '$':
		return 0, fmt.Errorf("the anchor %q is not supported", p[:1])
	}
	_, n := utf8.DecodeRuneInString(p)
	return n, nil
}

func escape(p string) (int, error) {
	m := sameEscape.FindStringSubmatch(p)
	if m == nil {
		return 0, fmt.Errorf("the escape %.2q is not supported", p)
	}
	if name := m[1]; name != "" {
		_, category := unicode.Categories[name]
		_, script := unicode.Scripts[name]
		if !category && !script {
			return 0, fmt.Errorf("the property %q is not supported", name)
		}
	}
	return len(m[0]), nil
}

// class checks a character class: plain members, ranges and escapes. Nested
// classes, && and - before [ mean different things to the two engines.
func class(p string) (int, error) {
	i := 1
	if strings.HasPrefix(p[i:], "^") {
		i++
	}
	for first := true; i < len(p); first = false {
		switch {
		case p[i] == ']' && !first:
			return i + 1, nil
		case p[i] == ']' || p[i] == '[':
			return 0, fmt.Errorf("the bracket inside a class is not supported")
		case strings.HasPrefix(p[i:], "&&"):
			return 0, fmt.Errorf("the && inside a class is not supported")
		case p[i] == '\\':
			n, err := escape(p[i:])
			if err != nil {
				return 0, err
			}
			i += n
		default:
			_, n := utf8.DecodeRuneInString(p[i:])
			i += n
		}
	}
	return 0, fmt.Errorf("the class does not end")
}
