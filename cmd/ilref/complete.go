package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ilref/ilref/internal/cli"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
)

// The words that flags know.
var (
	dtypes         = []string{"auto", "float64", "float32", "bfloat16", "float16"}
	roundings      = roundingWords()
	dynamicRopes   = []string{auto, string(model.DynamicVLLM), string(model.DynamicTransformers)}
	colors         = []string{"auto", "always", "never"}
	quirks         = []string{"vllm", "none"}
	inspectFormats = []string{"text", "json"}
)

// checkWords refuses words that a flag does not know, and no threads, before anything is
// opened.
func (f *runFlags) checkWords() error {
	if f.threads < 1 {
		return fmt.Errorf("--threads %d: expected 1 or more", f.threads)
	}
	for _, c := range []struct {
		flag, word string
		known      []string
	}{
		{"dtype", f.dtype, dtypes},
		{"rounding", f.rounding, roundings},
		{"dynamic-rope", f.dynamicRope, dynamicRopes},
		{"color", f.color, colors},
		{"il-quirks", f.quirks, quirks},
	} {
		if c.word != "" && !slices.Contains(c.known, c.word) { // "": not a flag of this command, or not given
			return fmt.Errorf("--%s %q: expected %s", c.flag, c.word, oneOf(c.known))
		}
	}
	return nil
}

func roundingWords() []string {
	words := []string{auto}
	for _, r := range nn.Roundings() {
		words = append(words, string(r))
	}
	return words
}

func oneOf(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

func complete(root *cobra.Command) {
	cli.Finish(root, map[string]cli.Completer{
		"run":        cli.Operands(),
		"replay":     cli.Operands(cli.Dirs),
		"inspect":    cli.Operands(cli.Files("pt", "pth", "bin")),
		"tokenize":   cli.Operands(),
		"detokenize": cli.Operands(),

		"--model":          cli.Dirs,
		"--like":           cli.Dirs,
		"--diff":           cli.Dirs,
		"--output-dir":     cli.Dirs,
		"--il-config-path": cli.Files("json"),
		"--prompt-file":    cli.Files(),
		"--chat":           cli.Files("json", "jsonl"),
		"--dtype":          cli.Values(dtypes...),
		"--rounding":       cli.Values(roundings...),
		"--dynamic-rope":   cli.Values(dynamicRopes...),
		"--color":          cli.Values(colors...),
		"--il-quirks":      cli.Values(quirks...),
		"--format":         cli.Values(inspectFormats...),
	})
}
