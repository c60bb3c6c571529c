// Package tokenizer turns text into token ids and back, as the Hugging Face
// tokenizers library does (version 0.23), from its tokenizer.json or from a
// SentencePiece tokenizer.model.
//
// A tokenizer is a pipeline: added tokens are cut out of the text, the rest is
// normalized, split into words, and each word is merged by byte-pair encoding;
// a post-processor adds special tokens. Decoding runs a chain of decoders over
// the tokens. Each stage is a file of this package. A component that is not
// implemented is refused by name when the file is loaded: a wrong id is worse
// than an error.
package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Tokenizer is a loaded tokenizer. It is safe for use by several goroutines.
type Tokenizer struct {
	model        *bpe
	added        addedTokens
	normalize    func(text string, start bool) string // of a text, and whether it begins the original; nil for none
	preTokenize  []preTokenizer                       // in order
	template     []templatePart                       // nil for the text alone
	decoders     []decoder
	joinBySpaces bool // there is no decoder at all
}

// piece is a part of the text on its way to the model.
type piece struct {
	text  string
	start bool  // it begins where the original text begins
	id    int32 // of an added token; noID for text
}

const noID = -1

// Encode returns the ids of a text, with the special tokens of the
// post-processor (such as a BOS) if addSpecial. Special tokens that are spelled
// out in the text are recognized either way.
func (t *Tokenizer) Encode(text string, addSpecial bool) ([]int, error) {
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("the text is not UTF-8 (byte %d)", invalidAt(text))
	}
	pieces := t.added.raw.split(nil, piece{text, true, noID})
	pieces = t.normalizeAndSplit(pieces)
	for _, p := range t.preTokenize {
		var err error
		if pieces, err = p(pieces); err != nil {
			return nil, fmt.Errorf("cannot split the text into words: %w", err)
		}
	}
	ids := t.model.encode(make([]int, 0, len(pieces)+8), pieces)
	return t.applyTemplate(ids, addSpecial), nil
}

// normalizeAndSplit normalizes the text between the added tokens found so far
// and cuts out those that are looked for in normalized text.
func (t *Tokenizer) normalizeAndSplit(pieces []piece) []piece {
	if t.normalize == nil && t.added.normalized == nil {
		return pieces
	}
	var out []piece
	for _, p := range pieces {
		if p.id != noID {
			out = append(out, p)
			continue
		}
		if t.normalize != nil {
			p.text = t.normalize(p.text, p.start)
		}
		out = t.added.normalized.split(out, p)
	}
	return out
}

// Decode returns the text of the ids, without special tokens if skipSpecial.
// An id outside the vocabulary is an error.
func (t *Tokenizer) Decode(ids []int, skipSpecial bool) (string, error) {
	tokens := make([]string, 0, len(ids))
	for _, id := range ids {
		token, special, ok := t.decodedToken(id)
		if !ok {
			return "", fmt.Errorf("token id %d is not in the tokenizer's vocabulary of %d tokens", id, t.VocabSize())
		}
		if !special || !skipSpecial {
			tokens = append(tokens, token)
		}
	}
	if t.joinBySpaces {
		return strings.Join(tokens, " "), nil
	}
	for _, d := range t.decoders {
		tokens = d(tokens)
	}
	return strings.Join(tokens, ""), nil
}

// decodedToken returns what the decoders see of an id.
func (t *Tokenizer) decodedToken(id int) (token string, special, ok bool) {
	if a, ok := t.added.byID[id]; ok {
		return a.decoded, t.added.special[a.decoded], true
	}
	token, ok = t.model.token(id)
	return token, t.added.special[token], ok
}

// Token returns the token of an id as the vocabulary spells it, and false for
// an id that is not in the vocabulary.
func (t *Tokenizer) Token(id int) (string, bool) {
	if a, ok := t.added.byID[id]; ok {
		return a.Content, true
	}
	return t.model.token(id)
}

// ID returns the id of a token as the vocabulary spells it.
func (t *Tokenizer) ID(token string) (int, bool) {
	if id, ok := t.added.byContent[token]; ok {
		return id, true
	}
	id, ok := t.model.vocab[token]
	return int(id), ok
}

// VocabSize returns the number of tokens, added ones included. Ids may reach
// beyond it where a vocabulary has gaps.
func (t *Tokenizer) VocabSize() int {
	n := len(t.model.vocab)
	for content := range t.added.byContent {
		if _, ok := t.model.vocab[content]; !ok {
			n++
		}
	}
	return n
}

func invalidAt(s string) int {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return i
			}
		}
	}
	return len(s)
}
