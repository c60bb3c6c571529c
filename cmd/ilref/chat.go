package main

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ilref/ilref/internal/sidefile"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/chat"
	"github.com/ilref/ilref/model/tokenizer"
)

// chatTokens renders the conversations of --chat by the model's chat template
// and returns their tokens. The template writes the special tokens itself, so
// none are added.
func (f *runFlags) chatTokens(ckpt *model.Checkpoint, tok *tokenizer.Tokenizer, tokErr error) ([][]int, error) {
	if f.chat == "" {
		return nil, nil
	}
	conversations, err := readChatFile(f.chat)
	if err != nil {
		return nil, err
	}
	if tokErr != nil {
		return nil, fmt.Errorf("--chat needs the model's tokenizer (--prompt-ids does not): %w", tokErr)
	}
	template, err := ckpt.ChatTemplate()
	if err != nil {
		return nil, err
	}
	opts := chat.Options{BOSToken: template.BOSToken, EOSToken: template.EOSToken, AddGenerationPrompt: true, Now: time.Now()}
	var out [][]int
	for _, c := range conversations {
		text, err := chat.Render(template.Template, c.messages, opts)
		var refused *chat.Error
		if errors.As(err, &refused) {
			return nil, fmt.Errorf("%s: %w", c.where, err)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: the chat template cannot be used: %w; give the whole prompt with --prompt or --prompt-ids", template.File, err)
		}
		if text == "" {
			return nil, fmt.Errorf("%s: the chat template of %s makes an empty prompt of it", c.where, template.File)
		}
		ids, err := tok.Encode(text, false)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.where, err)
		}
		out = append(out, ids)
	}
	return out, nil
}

// conversation is one prompt of a messages file.
type conversation struct {
	where    string
	messages []chat.Message
}

// readChatFile reads a file with one list of messages, or a .jsonl file with a
// list, or an object {"messages": […]}, a line.
func readChatFile(path string) ([]conversation, error) {
	data, err := sidefile.ReadNamed(path, maxPrompts)
	if err != nil {
		return nil, err
	}
	if filepath.Ext(path) != ".jsonl" {
		c, err := parseConversation(path, data)
		return []conversation{c}, err
	}
	var out []conversation
	for i, line := range bytes.Split(data, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		c, err := parseConversation(fmt.Sprintf("%s:%d", path, i+1), line)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: holds no conversation: expected a line such as [{\"role\": \"user\", \"content\": \"Hello\"}]", path)
	}
	return out, nil
}

func parseConversation(where string, data []byte) (conversation, error) {
	raw := jsontext.Value(bytes.TrimSpace(data))
	if raw.Kind() == '{' {
		var o struct {
			Messages jsontext.Value `json:"messages"`
		}
		if err := json.Unmarshal(raw, &o); err != nil {
			return conversation{}, fmt.Errorf("%s: %w", where, err)
		}
		if o.Messages != nil {
			raw = o.Messages
		}
	}
	messages, err := chat.ParseMessages(raw)
	if err != nil {
		return conversation{}, fmt.Errorf("%s: %w", where, err)
	}
	return conversation{where, messages}, nil
}
