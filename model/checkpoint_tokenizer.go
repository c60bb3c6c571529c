package model

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"github.com/ilref/ilref/model/tokenizer"
)

// Tokenizer loads the checkpoint's tokenizer.json, or its tokenizer.model of
// SentencePiece. Of tokenizer_config.json it obeys what transformers 5 does:
// added_tokens_decoder adds tokens and changes known ones, and where
// add_bos_token or add_eos_token is given, the two decide what goes around a
// text, and not the tokenizer's own file. Odd things are added to Warnings.
func (c *Checkpoint) Tokenizer() (*tokenizer.Tokenizer, error) {
	for _, f := range []struct {
		file string
		load func(name string, data []byte) (*tokenizer.Tokenizer, error)
	}{
		{"tokenizer.json", tokenizer.Load},
		{"tokenizer.model", tokenizer.LoadSentencePiece},
	} {
		b, err := c.read(f.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		t, err := f.load(c.path(f.file), b)
		if err != nil {
			return nil, err
		}
		return t, c.configureTokenizer(t)
	}
	return nil, fmt.Errorf("%s: the model folder has neither tokenizer.json nor tokenizer.model; give token ids instead of text", c.Name)
}

func (c *Checkpoint) configureTokenizer(t *tokenizer.Tokenizer) error {
	const file = "tokenizer_config.json"
	b, err := c.read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	o := parseObject(c.path(file), b)
	tokens := addedTokens(o.sub("added_tokens_decoder"))
	if o.doc.err == nil {
		if err := t.AddTokens(tokens); err != nil {
			return fmt.Errorf("%s: /added_tokens_decoder: %w", c.path(file), err)
		}
	}
	if o.has("add_bos_token") || o.has("add_eos_token") {
		before := t.Special()
		t.SetSpecial(specialToken(o, t, "add_bos_token", "bos_token"), specialToken(o, t, "add_eos_token", "eos_token"))
		if after := t.Special(); o.doc.err == nil && !slices.Equal(before, after) {
			c.warn("%s: add_bos_token and add_eos_token put the ids %v around a text, the tokenizer's own file would put %v; the first counts", c.path(file), after, before)
		}
	}
	return o.doc.err
}

// addedTokens reads tokens by id: {"32000": {"content": "<|end|>", …}, …}.
func addedTokens(o *object) []tokenizer.AddedToken {
	var tokens []tokenizer.AddedToken
	for _, key := range o.keys {
		id, err := strconv.Atoi(key)
		if err != nil {
			o.failKey(key, "has a name that is no token id")
		}
		v := o.sub(key)
		special := v.bool("special", false)
		tokens = append(tokens, tokenizer.AddedToken{
			ID: id, Content: v.string("content", ""), Special: special, Normalized: v.bool("normalized", !special),
			SingleWord: v.bool("single_word", false), LStrip: v.bool("lstrip", false), RStrip: v.bool("rstrip", false),
		})
	}
	slices.SortFunc(tokens, func(a, b tokenizer.AddedToken) int { return a.ID - b.ID })
	return tokens
}

// specialToken returns the id of a token that is to be added, as a list of one
// or none. The token is written as a string or as an object with its content.
func specialToken(o *object, t *tokenizer.Tokenizer, add, key string) []int {
	if !o.bool(add, false) || !o.has(key) {
		return nil
	}
	var token string
	if o.values[key].raw.Kind() == '{' {
		token = o.sub(key).string("content", "")
	} else {
		token = o.string(key, "")
	}
	id, ok := t.ID(token)
	if !ok && o.doc.err == nil {
		o.failKey(key, "is %q, which is not in the tokenizer's vocabulary", token)
	}
	return []int{id}
}
