package tokenizer

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/text/unicode/norm"
)

// normalizer rewrites the text between added tokens (tokenizers 0.23,
// src/normalizers).
type normalizer func(string) string

// loadNormalizer builds a normalizer; nil for null.
func (l *loader) loadNormalizer(raw jsontext.Value, path string) (normalizer, error) {
	typ, err := l.typeOf(raw, path)
	if typ == "" || err != nil {
		return nil, err
	}
	switch typ {
	case "Sequence":
		var o struct {
			Type        string           `json:"type"`
			Normalizers []jsontext.Value `json:"normalizers"`
		}
		if err := l.decode(raw, path, &o); err != nil {
			return nil, err
		}
		var all []normalizer
		for i, raw := range o.Normalizers {
			n, err := l.loadNormalizer(raw, fmt.Sprintf("%s/normalizers/%d", path, i))
			if err != nil {
				return nil, err
			}
			all = append(all, n)
		}
		return func(s string) string {
			for _, n := range all {
				s = n(s)
			}
			return s
		}, nil
	case "NFC", "NFD", "NFKC", "NFKD":
		form := map[string]norm.Form{"NFC": norm.NFC, "NFD": norm.NFD, "NFKC": norm.NFKC, "NFKD": norm.NFKD}[typ]
		return func(s string) string { return unicodeForm(form, s) }, l.decode(raw, path, &struct {
			Type string `json:"type"`
		}{})
	case "Prepend":
		var o struct {
			Type    string `json:"type"`
			Prepend string `json:"prepend"`
		}
		if err := l.decode(raw, path, &o); err != nil {
			return nil, err
		}
		if len(o.Prepend) > maxGrowth {
			return nil, l.errorf(path+"/prepend", "has %d bytes, expected at most %d", len(o.Prepend), maxGrowth)
		}
		return func(s string) string {
			if s == "" {
				return s
			}
			return o.Prepend + s
		}, nil
	case "Replace":
		return l.loadReplace(raw, path)
	}
	return nil, l.unsupported(path, typ, "Sequence, NFC, NFD, NFKC, NFKD, Prepend, Replace")
}

// loadReplace builds the replacement that is both a normalizer and a decoder.
func (l *loader) loadReplace(raw jsontext.Value, path string) (normalizer, error) {
	var o struct {
		Type    string  `json:"type"`
		Pattern pattern `json:"pattern"`
		Content string  `json:"content"`
	}
	if err := l.decode(raw, path, &o); err != nil {
		return nil, err
	}
	if o.Pattern.Regex != "" || o.Pattern.String == "" {
		return nil, l.errorf(path+"/pattern", "only a String that is not empty is supported")
	}
	grown := max(l.growth, 1)
	if c, p := len(o.Content), len(o.Pattern.String); c > p {
		grown *= min((c+p-1)/p, maxGrowth+1)
	}
	if l.growth = grown; grown > maxGrowth {
		return nil, l.errorf(path+"/content", "makes a text %d times as long or more, with the replacements before it", maxGrowth)
	}
	return strings.NewReplacer(o.Pattern.String, o.Content).Replace, nil
}
