package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/ilref/ilref/internal/sidefile"
	"github.com/ilref/ilref/model/tokenizer"
)

// promptTokens returns the tokens of --prompt-ids, --prompt or --prompt-file.
// tokErr says why there is no tokenizer.
func (f *runFlags) promptTokens(tok *tokenizer.Tokenizer, tokErr error) ([][]int, error) {
	var out [][]int
	for _, s := range f.promptIDs {
		ids, err := parseIDs(s)
		if err != nil {
			return nil, err
		}
		out = append(out, ids)
	}
	encode := func(flag, text string) error {
		if tokErr != nil {
			return fmt.Errorf("%s needs the model's tokenizer (--prompt-ids does not): %w", flag, tokErr)
		}
		ids, err := tok.Encode(text, true)
		if err != nil {
			return fmt.Errorf("%s: %w", flag, err)
		}
		out = append(out, ids)
		return nil
	}
	for _, text := range f.prompts {
		if text == "" {
			return nil, fmt.Errorf("--prompt %q: the prompt is empty", text)
		}
		if err := encode("--prompt", text); err != nil {
			return nil, err
		}
	}
	if f.promptFile == "" {
		return out, nil
	}
	prompts, err := readPromptFile(f.promptFile)
	if err != nil {
		return nil, err
	}
	for _, p := range prompts {
		if p.IDs != nil {
			out = append(out, p.IDs)
		} else if err := encode("--prompt-file "+f.promptFile, *p.Text); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func parseIDs(s string) ([]int, error) {
	if strings.TrimSpace(s) == "" {
		return nil, fmt.Errorf("--prompt-ids %q: the prompt is empty: expected token ids such as 1,15043", s)
	}
	var ids []int
	for part := range strings.SplitSeq(s, ",") {
		id, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("--prompt-ids %q: %q is not a token id: expected numbers such as 1,15043", s, part)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// filePrompt is a line of a JSONL prompt file.
type filePrompt struct {
	Text *string `json:"prompt"`
	IDs  []int   `json:"prompt_token_ids"`
}

// maxPrompts bounds a file of prompts or of messages: some four million tokens.
const maxPrompts = 16 << 20

// readPromptFile reads a text file as one prompt, and a .jsonl file as one
// prompt a line.
func readPromptFile(path string) ([]filePrompt, error) {
	data, err := sidefile.ReadNamed(path, maxPrompts)
	if err != nil {
		return nil, err
	}
	if filepath.Ext(path) != ".jsonl" {
		if len(data) == 0 {
			return nil, fmt.Errorf("%s: the prompt is empty", path)
		}
		text := string(data)
		return []filePrompt{{Text: &text}}, nil
	}
	var out []filePrompt
	for i, line := range bytes.Split(data, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var p filePrompt
		if err := json.Unmarshal(line, &p); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
		if (p.Text == nil) == (p.IDs == nil) {
			return nil, fmt.Errorf("%s:%d: expected one of \"prompt\" and \"prompt_token_ids\"", path, i+1)
		}
		out = append(out, p)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: holds no prompt: expected a line such as {\"prompt\": \"Hello\"}", path)
	}
	return out, nil
}
