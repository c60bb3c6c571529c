package tokenizer

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Load reads a tokenizer.json. The name is for messages.
func Load(name string, data []byte) (*Tokenizer, error) {
	l := &loader{name: name}
	var o struct {
		Version       string         `json:"version"`
		Truncation    jsontext.Value `json:"truncation"` // as vLLM, which sets both for
		Padding       jsontext.Value `json:"padding"`    // each call, we do not apply them
		AddedTokens   []AddedToken   `json:"added_tokens"`
		Normalizer    jsontext.Value `json:"normalizer"`
		PreTokenizer  jsontext.Value `json:"pre_tokenizer"`
		PostProcessor jsontext.Value `json:"post_processor"`
		Decoder       jsontext.Value `json:"decoder"`
		Model         jsontext.Value `json:"model"`
	}
	if err := l.decode(data, "", &o); err != nil {
		return nil, err
	}
	if o.Version != "1.0" {
		return nil, l.errorf("/version", "is %q, expected \"1.0\"", o.Version)
	}
	t := &Tokenizer{}
	var err error
	if t.model, err = l.loadModel(o.Model, "/model"); err != nil {
		return nil, err
	}
	normalize, err := l.loadNormalizer(o.Normalizer, "/normalizer")
	if err != nil {
		return nil, err
	}
	if normalize != nil {
		t.normalize = func(s string, _ bool) string { return normalize(s) }
	}
	if t.preTokenize, err = l.loadPreTokenizers(o.PreTokenizer, "/pre_tokenizer"); err != nil {
		return nil, err
	}
	if t.template, err = l.loadPostProcessor(o.PostProcessor, "/post_processor"); err != nil {
		return nil, err
	}
	if t.decoders, err = l.loadDecoders(o.Decoder, "/decoder"); err != nil {
		return nil, err
	}
	t.joinBySpaces = isNull(o.Decoder)
	if t.added, err = newAddedTokens(o.AddedTokens, t.model, normalize); err != nil {
		return nil, l.errorf("/added_tokens", "%w", err)
	}
	return t, l.checkTemplate(t)
}

// checkTemplate tests that the special tokens that will be added exist.
func (l *loader) checkTemplate(t *Tokenizer) error {
	for _, p := range t.template {
		for _, id := range p.ids {
			if _, ok := t.Token(id); !ok {
				return l.errorf("/post_processor", "adds the token id %d, which is not in the vocabulary", id)
			}
		}
	}
	return nil
}

func (l *loader) loadModel(raw jsontext.Value, path string) (*bpe, error) {
	typ, err := l.typeOf(raw, path)
	if err != nil {
		return nil, err
	}
	if typ != "BPE" {
		return nil, l.unsupported(path, typ, "BPE")
	}
	var o struct {
		Type         string            `json:"type"`
		Dropout      float64           `json:"dropout"`
		UnkToken     *string           `json:"unk_token"`
		Prefix       string            `json:"continuing_subword_prefix"`
		Suffix       string            `json:"end_of_word_suffix"`
		FuseUnk      bool              `json:"fuse_unk"`
		ByteFallback bool              `json:"byte_fallback"`
		IgnoreMerges bool              `json:"ignore_merges"`
		Vocab        map[string]uint32 `json:"vocab"`
		Merges       jsontext.Value    `json:"merges"`
	}
	if err := l.decode(raw, path, &o); err != nil {
		return nil, err
	}
	switch {
	case o.Dropout != 0:
		return nil, l.errorf(path+"/dropout", "is %v: random merges are not supported", o.Dropout)
	case o.Prefix != "":
		return nil, l.errorf(path+"/continuing_subword_prefix", "%q is not supported", o.Prefix)
	case o.Suffix != "":
		return nil, l.errorf(path+"/end_of_word_suffix", "%q is not supported", o.Suffix)
	case len(o.Vocab) == 0:
		return nil, l.errorf(path+"/vocab", "is empty or missing")
	}
	m, err := newBPE(o.Vocab)
	if err != nil {
		return nil, l.errorf(path+"/vocab", "%w", err)
	}
	m.fuseUnk, m.ignoreMerges = o.FuseUnk, o.IgnoreMerges
	if o.ByteFallback {
		m.setByteFallback()
	}
	if o.UnkToken != nil {
		id, ok := o.Vocab[*o.UnkToken]
		if !ok {
			return nil, l.errorf(path+"/unk_token", "%q is not in the vocabulary", *o.UnkToken)
		}
		m.unk = int32(id)
	}
	return m, l.loadMerges(m, o.Merges, path+"/merges")
}

// loadMerges reads pairs, or lines of two tokens in files before 0.20.
func (l *loader) loadMerges(m *bpe, raw jsontext.Value, path string) error {
	if isNull(raw) {
		return l.errorf(path, "is missing")
	}
	var pairs [][2]string
	if first := bytes.TrimLeft(raw[min(1, len(raw)):], " \t\r\n"); len(first) > 0 && first[0] == '"' {
		var lines []string
		if err := l.decode(raw, path, &lines); err != nil {
			return err
		}
		for i, line := range lines {
			if strings.HasPrefix(line, "#version") {
				continue
			}
			p := strings.Split(line, " ")
			if len(p) != 2 {
				return l.errorf(fmt.Sprintf("%s/%d", path, i), "is %q, expected two tokens with a space between", line)
			}
			pairs = append(pairs, [2]string{p[0], p[1]})
		}
	} else if err := l.decode(raw, path, &pairs); err != nil {
		return err
	}
	for rank, p := range pairs {
		if err := m.addMerge(p[0], p[1], rank); err != nil {
			return l.errorf(path, "%w", err)
		}
	}
	return nil
}

// Bounds of what a tokenizer.json may ask for. Real ones have sequences in
// sequences never, and write «▁» for a space.
const (
	maxNested = 16   // components in each other
	maxGrowth = 1000 // bytes that all replacements together may make of one
)

// loader reads a tokenizer.json and words its errors.
type loader struct {
	name   string
	growth int // bytes that the replacements so far make of one
}

func (l *loader) errorf(path, format string, args ...any) error {
	if path == "" {
		path = "the file"
	}
	return fmt.Errorf("%s: %s %w", l.name, path, fmt.Errorf(format, args...))
}

func (l *loader) unsupported(path, typ, known string) error {
	return l.errorf(path, "has type %q, which is not supported; known: %s", typ, known)
}

func isNull(raw jsontext.Value) bool { return len(raw) == 0 || raw.Kind() == 'n' }

// typeOf returns the type of a component; "" for null.
func (l *loader) typeOf(raw jsontext.Value, path string) (string, error) {
	if isNull(raw) {
		return "", nil
	}
	if strings.Count(path, "/") > 2*maxNested {
		return "", l.errorf(path, "is nested more than %d deep", maxNested)
	}
	var o struct {
		Type *string `json:"type"`
	}
	if err := l.wrap(path, json.Unmarshal(raw, &o, jsontext.AllowDuplicateNames(true))); err != nil {
		return "", err
	}
	if o.Type == nil || *o.Type == "" {
		return "", l.errorf(path, "has no type")
	}
	return *o.Type, nil
}

// decode reads a JSON value into v. Options that v does not have are errors.
// Keys that appear twice are found when the whole file is read; looking again
// in its parts would take a third of the time.
func (l *loader) decode(raw []byte, path string, v any) error {
	return l.wrap(path, json.Unmarshal(raw, v, json.RejectUnknownMembers(true), jsontext.AllowDuplicateNames(path != "")))
}

// wrap words an error of the JSON package: the place, and what is wrong.
func (l *loader) wrap(path string, err error) error {
	var sem *json.SemanticError
	var syn *jsontext.SyntacticError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, json.ErrUnknownName) && errors.As(err, &sem):
		return l.errorf(path+string(sem.JSONPointer.Parent()), "has the option %q, which is not supported", sem.JSONPointer.LastToken())
	case errors.As(err, &sem):
		cause := ""
		if sem.Err != nil {
			cause = ": " + sem.Err.Error()
		}
		return l.errorf(path+string(sem.JSONPointer), "does not fit %s%s", sem.GoType, cause)
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syn):
		return l.errorf(path+string(syn.JSONPointer.Parent()), "has the key %q twice", syn.JSONPointer.LastToken())
	case errors.As(err, &syn):
		return l.errorf(path+string(syn.JSONPointer), "bad JSON at byte %d: %w", syn.ByteOffset, syn.Err)
	}
	return l.errorf(path, "%w", err)
}
