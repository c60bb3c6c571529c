package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// AddedToken is a token that is looked for in the text before the model sees
// it (tokenizers 0.23, src/tokenizer/added_vocabulary.rs).
type AddedToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // only between characters that are no part of a word
	LStrip     bool   `json:"lstrip"`      // takes the white space on its left
	RStrip     bool   `json:"rstrip"`      // and on its right
	Normalized bool   `json:"normalized"`  // is looked for, normalized itself, in normalized text
	Special    bool   `json:"special"`     // may be left out when decoding

	decoded string // what the decoders see: the normalized content of a normalized token
}

type addedTokens struct {
	list       []AddedToken
	normalize  normalizer // of the contents of normalized tokens; nil for none
	byID       map[int]*AddedToken
	byContent  map[string]int
	special    map[string]bool // contents of special tokens
	raw        *matcher        // those looked for in the raw text; nil for none
	normalized *matcher        // and in normalized text
}

// newAddedTokens takes the tokens in the order of the file. The library
// ignores the ids of the file: it gives a token its id in the model's
// vocabulary, or the next free one. Where the two disagree the file is refused.
func newAddedTokens(tokens []AddedToken, model *bpe, normalize normalizer) (addedTokens, error) {
	a := addedTokens{list: tokens, normalize: normalize, byID: map[int]*AddedToken{}, byContent: map[string]int{}, special: map[string]bool{}}
	var raw, normalized []*AddedToken
	next := len(model.vocab)
	for i := range tokens {
		t := &tokens[i]
		if t.Content == "" {
			continue
		}
		if _, ok := a.byContent[t.Content]; ok {
			return a, fmt.Errorf("added token %q appears twice", t.Content)
		}
		id, ok := model.vocab[t.Content]
		if !ok {
			id = uint32(next)
			next++
		}
		if t.ID != int(id) {
			return a, fmt.Errorf("added token %q has id %d, but the tokenizers library gives it %d", t.Content, t.ID, id)
		}
		if have, ok := model.token(t.ID); ok && have != t.Content {
			return a, fmt.Errorf("added token %q has id %d, which is %q in the vocabulary", t.Content, t.ID, have)
		}
		t.decoded = t.Content
		if t.Normalized && normalize != nil {
			t.decoded = normalize(t.Content)
		}
		a.byID[t.ID], a.byContent[t.Content] = t, t.ID
		a.special[t.Content] = a.special[t.Content] || t.Special
		if t.Normalized {
			normalized = append(normalized, t)
		} else {
			raw = append(raw, t)
		}
	}
	var err error
	if a.raw, err = newMatcher(raw); err == nil {
		a.normalized, err = newMatcher(normalized)
	}
	return a, err
}

// AddTokens adds tokens in order, and changes those that it has already. Their
// ids must be those that the library would give them.
func (t *Tokenizer) AddTokens(tokens []AddedToken) error {
	all := slices.Clone(t.added.list)
	at := map[string]int{}
	for i, o := range slices.Backward(all) {
		at[o.Content] = i
	}
	for _, n := range tokens {
		i, ok := at[n.Content]
		if ok {
			all[i] = n
			continue
		}
		at[n.Content] = len(all)
		all = append(all, n)
	}
	added, err := newAddedTokens(all, t.model, t.added.normalize)
	if err == nil {
		t.added = added
	}
	return err
}

// matcher finds tokens in text: the leftmost, and the longest of those.
type matcher struct {
	byFirst [256]candidates
}

// candidates are the tokens that begin with one byte, by what they look for.
// There can be hundreds of thousands, but not of as many lengths.
type candidates struct {
	lengths []int // the longest first
	tokens  map[string]*AddedToken
}

func newMatcher(tokens []*AddedToken) (*matcher, error) {
	if len(tokens) == 0 {
		return nil, nil
	}
	m := &matcher{}
	for _, t := range tokens {
		if t.decoded == "" {
			return nil, fmt.Errorf("added token %q is empty once normalized", t.Content)
		}
		c := &m.byFirst[t.decoded[0]]
		if c.tokens == nil {
			c.tokens = map[string]*AddedToken{}
		}
		if same := c.tokens[t.decoded]; same != nil {
			return nil, fmt.Errorf("added tokens %q and %q are the same once normalized", same.Content, t.Content)
		}
		c.tokens[t.decoded] = t
		c.lengths = append(c.lengths, len(t.decoded))
	}
	for i := range m.byFirst {
		c := &m.byFirst[i]
		slices.SortFunc(c.lengths, func(x, y int) int { return y - x })
		c.lengths = slices.Compact(c.lengths)
	}
	return m, nil
}

// at returns the longest token that begins at byte i.
func (m *matcher) at(text string, i int) *AddedToken {
	c := &m.byFirst[text[i]]
	for _, n := range c.lengths {
		if n <= len(text)-i {
			if t := c.tokens[text[i:i+n]]; t != nil {
				return t
			}
		}
	}
	return nil
}

// split appends the parts of a piece: added tokens, and the text between them
// where it is not empty.
func (m *matcher) split(out []piece, p piece) []piece {
	if p.text == "" {
		return out
	}
	if m == nil {
		return append(out, p)
	}
	text, done := p.text, 0
	keep := func(lo, hi int, id int32) {
		out = append(out, piece{text[lo:hi], p.start && lo == 0, id})
	}
	for i := 0; i < len(text); {
		t := m.at(text, i)
		if t == nil {
			i++
			continue
		}
		lo, hi := i, i+len(t.decoded)
		i = hi // also past a match that is then discarded
		if t.SingleWord && (endsWithWord(text[:lo]) || startsWithWord(text[hi:])) {
			continue
		}
		if t.LStrip {
			lo = max(len(strings.TrimRightFunc(text[:lo], unicode.IsSpace)), done)
		}
		if t.RStrip {
			hi = len(text) - len(strings.TrimLeftFunc(text[hi:], unicode.IsSpace))
		}
		if done < lo {
			keep(done, lo, noID)
		}
		keep(lo, hi, int32(t.ID))
		done = hi
	}
	if done < len(text) {
		keep(done, len(text), noID)
	}
	return out
}

func startsWithWord(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isWord(r)
}

func endsWithWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isWord(r)
}

// isWord is \w of Rust's regex (Unicode Technical Standard 18, annex C).
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nl, unicode.Other_Alphabetic, unicode.Nd, unicode.Pc, unicode.Join_Control)
}
