package tokenizer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// preTokenizer splits the text pieces into words and leaves added tokens alone
// (tokenizers 0.23, src/pre_tokenizers).
type preTokenizer func([]piece) ([]piece, error)

// pattern is how the file writes what Split and Replace look for.
type pattern struct {
	String string `json:"String"`
	Regex  string `json:"Regex"`
}

// loadPreTokenizers builds the pre-tokenizers, a Sequence as its members; none
// for null.
func (l *loader) loadPreTokenizers(raw jsontext.Value, path string) ([]preTokenizer, error) {
	typ, err := l.typeOf(raw, path)
	if typ == "" || err != nil {
		return nil, err
	}
	var p preTokenizer
	switch typ {
	case "Sequence":
		var o struct {
			Type          string           `json:"type"`
			PreTokenizers []jsontext.Value `json:"pretokenizers"`
		}
		if err := l.decode(raw, path, &o); err != nil {
			return nil, err
		}
		var all []preTokenizer
		for i, raw := range o.PreTokenizers {
			p, err := l.loadPreTokenizers(raw, fmt.Sprintf("%s/pretokenizers/%d", path, i))
			if err != nil {
				return nil, err
			}
			all = append(all, p...)
		}
		return all, nil
	case "Split":
		p, err = l.loadSplit(raw, path)
	case "ByteLevel":
		p, err = l.loadByteLevel(raw, path)
	case "Metaspace":
		p, err = l.loadMetaspace(raw, path)
	case "Digits":
		var o struct {
			Type             string `json:"type"`
			IndividualDigits bool   `json:"individual_digits"`
		}
		err = l.decode(raw, path, &o)
		how := contiguous
		if o.IndividualDigits {
			how = isolated
		}
		p = splitter(runeMatches(unicode.IsNumber), how)
	default:
		err = l.unsupported(path, typ, "Sequence, Split, ByteLevel, Metaspace, Digits")
	}
	return []preTokenizer{p}, err
}

func (l *loader) loadSplit(raw jsontext.Value, path string) (preTokenizer, error) {
	var o struct {
		Type     string  `json:"type"`
		Pattern  pattern `json:"pattern"`
		Behavior string  `json:"behavior"`
		Invert   bool    `json:"invert"`
	}
	if err := l.decode(raw, path, &o); err != nil {
		return nil, err
	}
	how, err := l.behavior(o.Behavior, path)
	if err != nil {
		return nil, err
	}
	var find finder
	switch {
	case o.Pattern.Regex != "":
		re, err := compile(o.Pattern.Regex)
		if err != nil {
			return nil, l.errorf(path+"/pattern/Regex", "%w", err)
		}
		find = re.matches
	case o.Pattern.String != "":
		find = stringMatches(o.Pattern.String)
	default:
		return nil, l.errorf(path+"/pattern", "expected a Regex or String that is not empty")
	}
	if o.Invert {
		find = inverted(find)
	}
	return splitter(find, how), nil
}

func (l *loader) loadByteLevel(raw jsontext.Value, path string) (preTokenizer, error) {
	o := byteLevelOptions{UseRegex: true}
	if err := l.decode(raw, path, &o); err != nil {
		return nil, err
	}
	words := gpt2Words()
	return func(in []piece) ([]piece, error) {
		var err error
		if o.AddPrefixSpace {
			in = eachText(in, func(p piece) string {
				if strings.HasPrefix(p.text, " ") {
					return p.text
				}
				return " " + p.text
			})
		}
		if o.UseRegex {
			if in, err = splitter(words.matches, isolated)(in); err != nil {
				return nil, err
			}
		}
		return eachText(in, func(p piece) string { return bytesToChars(p.text) }), nil
	}, nil
}

func (l *loader) loadMetaspace(raw jsontext.Value, path string) (preTokenizer, error) {
	o, err := l.metaspace(raw, path)
	if err != nil {
		return nil, err
	}
	return func(in []piece) ([]piece, error) {
		in = eachText(in, func(p piece) string {
			text := strings.ReplaceAll(p.text, " ", o.Replacement)
			if (o.Scheme == "always" || o.Scheme == "first" && p.start) && !strings.HasPrefix(text, o.Replacement) {
				text = o.Replacement + text
			}
			return text
		})
		if !o.Split {
			return in, nil
		}
		return splitter(stringMatches(o.Replacement), mergedWithNext)(in)
	}, nil
}

type metaspace struct {
	Type           string `json:"type"`
	Replacement    string `json:"replacement"`
	AddPrefixSpace *bool  `json:"add_prefix_space"`
	Scheme         string `json:"prepend_scheme"` // first, never or always
	Split          bool   `json:"split"`
	StrRep         string `json:"str_rep"` // older files repeat the replacement
}

// metaspace reads the options that the pre-tokenizer and the decoder share.
func (l *loader) metaspace(raw jsontext.Value, path string) (metaspace, error) {
	o := metaspace{Scheme: "always", Split: true}
	if err := l.decode(raw, path, &o); err != nil {
		return o, err
	}
	switch {
	case utf8.RuneCountInString(o.Replacement) != 1:
		return o, l.errorf(path, "replacement is %q, expected one character", o.Replacement)
	case o.Scheme != "first" && o.Scheme != "never" && o.Scheme != "always":
		return o, l.errorf(path, "prepend_scheme is %q, expected first, never or always", o.Scheme)
	case o.AddPrefixSpace != nil && !*o.AddPrefixSpace && o.Scheme != "never":
		return o, l.errorf(path, "add_prefix_space false contradicts prepend_scheme %q", o.Scheme)
	}
	return o, nil
}

// eachText rewrites the text of every piece that is no added token.
func eachText(in []piece, f func(piece) string) []piece {
	for i, p := range in {
		if p.id == noID {
			in[i].text = f(p)
		}
	}
	return in
}

// splitter splits every text piece.
func splitter(find finder, how behavior) preTokenizer {
	return func(in []piece) ([]piece, error) {
		var spans []span
		out := make([]piece, 0, len(in)+16)
		for _, p := range in {
			if p.id != noID {
				out = append(out, p)
				continue
			}
			var err error
			if spans, err = find(spans[:0], p.text); err != nil {
				return nil, err
			}
			for _, s := range how(spans) {
				if s.lo < s.hi {
					out = append(out, piece{p.text[s.lo:s.hi], p.start && s.lo == 0, noID})
				}
			}
		}
		return out, nil
	}
}
