package tokenizer

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// decoder rewrites the list of tokens on its way to a text (tokenizers 0.23,
// src/decoders). It may overwrite its argument.
type decoder func([]string) []string

// loadDecoders builds the decoders, a Sequence as its members; none for null.
func (l *loader) loadDecoders(raw jsontext.Value, path string) ([]decoder, error) {
	typ, err := l.typeOf(raw, path)
	if typ == "" || err != nil {
		return nil, err
	}
	var only struct { // a component without options
		Type string `json:"type"`
	}
	var d decoder
	switch typ {
	case "Sequence":
		var o struct {
			Type     string           `json:"type"`
			Decoders []jsontext.Value `json:"decoders"`
		}
		if err := l.decode(raw, path, &o); err != nil {
			return nil, err
		}
		var all []decoder
		for i, raw := range o.Decoders {
			d, err := l.loadDecoders(raw, fmt.Sprintf("%s/decoders/%d", path, i))
			if err != nil {
				return nil, err
			}
			all = append(all, d...)
		}
		return all, nil
	case "ByteLevel":
		d, err = decodeByteLevel, l.decode(raw, path, &byteLevelOptions{})
	case "ByteFallback":
		d, err = decodeByteFallback, l.decode(raw, path, &only)
	case "Fuse":
		d, err = fuse, l.decode(raw, path, &only)
	case "Strip":
		d, err = l.loadStrip(raw, path)
	case "Replace":
		var n normalizer
		n, err = l.loadReplace(raw, path)
		d = eachToken(n)
	case "Metaspace":
		var o metaspace
		o, err = l.metaspace(raw, path)
		d = o.decode
	default:
		err = l.unsupported(path, typ, "Sequence, ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace")
	}
	return []decoder{d}, err
}

func eachToken(f func(string) string) decoder {
	return func(tokens []string) []string {
		for i, t := range tokens {
			tokens[i] = f(t)
		}
		return tokens
	}
}

func fuse(tokens []string) []string { return []string{strings.Join(tokens, "")} }

func decodeByteLevel(tokens []string) []string {
	var b []byte
	for _, t := range tokens {
		b = charsToBytes(b, t)
	}
	return []string{lossyUTF8(b)}
}

// decodeByteFallback joins runs of <0xNN> tokens: to the text that the bytes
// spell, or to one U+FFFD a byte if the run is not UTF-8.
func decodeByteFallback(tokens []string) []string {
	out := make([]string, 0, len(tokens))
	var run []byte
	flush := func() {
		if utf8.Valid(run) {
			out = append(out, string(run))
		} else {
			out = append(out, strings.Repeat("\ufffd", len(run)))
		}
		run = run[:0]
	}
	for _, t := range tokens {
		if b, ok := byteToken(t); ok {
			run = append(run, b)
			continue
		}
		flush()
		out = append(out, t)
	}
	flush()
	return out
}

func byteToken(t string) (byte, bool) {
	if len(t) != 6 || !strings.HasPrefix(t, "<0x") || t[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(t[3:5], 16, 8)
	return byte(b), err == nil
}

// loadStrip builds the decoder that takes up to start characters off the front
// of each token, and up to stop off its end.
func (l *loader) loadStrip(raw jsontext.Value, path string) (decoder, error) {
	var o struct {
		Type    string `json:"type"`
		Content string `json:"content"`
		Start   int    `json:"start"`
		Stop    int    `json:"stop"`
	}
	if err := l.decode(raw, path, &o); err != nil {
		return nil, err
	}
	if utf8.RuneCountInString(o.Content) != 1 || o.Start < 0 || o.Stop < 0 {
		return nil, l.errorf(path, "expected one character as content, and start and stop from 0")
	}
	return eachToken(func(t string) string {
		for range min(o.Start, len(t)) {
			t = strings.TrimPrefix(t, o.Content)
		}
		for range min(o.Stop, len(t)) {
			t = strings.TrimSuffix(t, o.Content)
		}
		return t
	}), nil
}

func (o *metaspace) decode(tokens []string) []string {
	for i, t := range tokens {
		space := " "
		if i == 0 && o.Scheme != "never" {
			space = ""
		}
		tokens[i] = strings.ReplaceAll(t, o.Replacement, space)
	}
	return tokens
}
