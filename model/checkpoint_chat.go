package model

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// ChatTemplate is the Jinja program that makes a text of a conversation.
type ChatTemplate struct {
	File     string // that has it, for messages
	Template string
	BOSToken *string // texts of the special tokens, nil where none is given
	EOSToken *string
}

// ChatTemplate finds the checkpoint's chat template as transformers 5 does: in
// chat_template.jinja, else in tokenizer_config.json, where it is a text or a
// list of named ones of which "default" counts, else in chat_template.json.
func (c *Checkpoint) ChatTemplate() (*ChatTemplate, error) {
	t := &ChatTemplate{}
	config, err := c.optionalObject("tokenizer_config.json")
	if err != nil {
		return nil, err
	}
	if config != nil {
		t.BOSToken, t.EOSToken = tokenText(config, "bos_token"), tokenText(config, "eos_token")
	}
	const own = "chat_template.jinja"
	switch b, err := c.read(own); {
	case err == nil:
		t.File, t.Template = c.path(own), string(b)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case config != nil && config.has("chat_template"):
		t.File, t.Template = c.path("tokenizer_config.json"), templateText(config)
	default:
		legacy, err := c.optionalObject("chat_template.json")
		if err != nil {
			return nil, err
		}
		if legacy == nil {
			return nil, fmt.Errorf("%s: the model has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json): give the whole prompt with --prompt or --prompt-ids", c.Name)
		}
		t.File, t.Template = c.path("chat_template.json"), templateText(legacy)
		if legacy.doc.err != nil {
			return nil, legacy.doc.err
		}
	}
	if config != nil && config.doc.err != nil {
		return nil, config.doc.err
	}
	return t, nil
}

// optionalObject reads a JSON file of the checkpoint, nil where it is missing.
func (c *Checkpoint) optionalObject(file string) (*object, error) {
	b, err := c.read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	o := parseObject(c.path(file), b)
	return o, o.doc.err
}

func templateText(o *object) string {
	const key = "chat_template"
	if !o.has(key) || o.values[key].raw.Kind() != '[' {
		return o.string(key, "")
	}
	var names []string
	for _, raw := range o.list(key) {
		entry := parseObject(o.doc.file, raw)
		name, text := entry.string("name", ""), entry.string("template", "")
		if entry.doc.err != nil {
			o.failKey(key, "has an element that is no {\"name\": …, \"template\": …}")
			return ""
		}
		if name == "default" {
			return text
		}
		names = append(names, name)
	}
	o.failKey(key, "has no template named default, only %s", strings.Join(names, ", "))
	return ""
}

// tokenText returns a special token's text, written as such or as an object
// with its content.
func tokenText(o *object, key string) *string {
	if !o.has(key) {
		return nil
	}
	text := ""
	if o.values[key].raw.Kind() == '{' {
		text = o.sub(key).string("content", "")
	} else {
		text = o.string(key, "")
	}
	return &text
}
