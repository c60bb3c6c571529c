package tokenizer

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// templatePart is a part of what a text becomes: the text itself, or special
// tokens.
type templatePart struct {
	text bool
	ids  []int
}

// applyTemplate puts special tokens around the ids of a text. Without
// addSpecial only the texts of the template remain.
func (t *Tokenizer) applyTemplate(ids []int, addSpecial bool) []int {
	if t.template == nil {
		return ids
	}
	var out []int
	for _, p := range t.template {
		switch {
		case p.text:
			out = append(out, ids...)
		case addSpecial:
			out = append(out, p.ids...)
		}
	}
	return out
}

// SetSpecial replaces the post-processor: bos goes before every text and eos
// behind it.
func (t *Tokenizer) SetSpecial(bos, eos []int) {
	t.template = []templatePart{{ids: bos}, {text: true}, {ids: eos}}
}

// Special returns the ids that the post-processor puts around an empty text.
func (t *Tokenizer) Special() []int { return t.applyTemplate(nil, true) }

// loadPostProcessor builds the template of a single text (tokenizers 0.23,
// src/processors); nil for null and for ByteLevel, which changes no ids.
func (l *loader) loadPostProcessor(raw jsontext.Value, path string) ([]templatePart, error) {
	typ, err := l.typeOf(raw, path)
	if typ == "" || err != nil {
		return nil, err
	}
	switch typ {
	case "Sequence":
		var o struct {
			Type       string           `json:"type"`
			Processors []jsontext.Value `json:"processors"`
		}
		if err := l.decode(raw, path, &o); err != nil {
			return nil, err
		}
		var template []templatePart
		for i, raw := range o.Processors {
			path := fmt.Sprintf("%s/processors/%d", path, i)
			t, err := l.loadPostProcessor(raw, path)
			if err != nil {
				return nil, err
			}
			if t != nil && template != nil {
				return nil, l.errorf(path, "a second TemplateProcessing is not supported")
			}
			if t != nil {
				template = t
			}
		}
		return template, nil
	case "ByteLevel":
		return nil, l.decode(raw, path, &byteLevelOptions{})
	case "TemplateProcessing":
		return l.loadTemplate(raw, path)
	}
	return nil, l.unsupported(path, typ, "Sequence, ByteLevel, TemplateProcessing")
}

func (l *loader) loadTemplate(raw jsontext.Value, path string) ([]templatePart, error) {
	type ref struct {
		ID     string `json:"id"`
		TypeID int    `json:"type_id"`
	}
	var o struct {
		Type   string `json:"type"`
		Single []struct {
			SpecialToken *ref `json:"SpecialToken"`
			Sequence     *ref `json:"Sequence"`
		} `json:"single"`
		Pair          jsontext.Value `json:"pair"` // for two texts: not used
		SpecialTokens map[string]struct {
			ID     string   `json:"id"`
			IDs    []int    `json:"ids"`
			Tokens []string `json:"tokens"`
		} `json:"special_tokens"`
	}
	if err := l.decode(raw, path, &o); err != nil {
		return nil, err
	}
	template := []templatePart{}
	for i, p := range o.Single {
		path := fmt.Sprintf("%s/single/%d", path, i)
		switch {
		case p.Sequence != nil && p.Sequence.ID == "A" && p.SpecialToken == nil:
			template = append(template, templatePart{text: true})
		case p.SpecialToken != nil && p.Sequence == nil:
			s, ok := o.SpecialTokens[p.SpecialToken.ID]
			if !ok {
				return nil, l.errorf(path, "special token %q is not in special_tokens", p.SpecialToken.ID)
			}
			template = append(template, templatePart{ids: s.IDs})
		default:
			return nil, l.errorf(path, "expected a SpecialToken or the Sequence A")
		}
	}
	return template, nil
}
