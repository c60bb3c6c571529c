package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ilref/ilref/model/tokenizer"
)

func newTokenizeCommand() *cobra.Command {
	var dir string
	var noSpecial bool
	cmd := &cobra.Command{
		Use:   "tokenize [--model DIR] TEXT",
		Short: "Show the token ids of a text, and the piece of each",
		Long: `Encode TEXT (- reads standard input) with the model's tokenizer. The first line
holds the ids as --prompt-ids takes them; then follows a line for each token.`,
		Example: "  ilref tokenize 'func main() {'\n  ilref tokenize --model ./Llama-3.2-1B - < prompt.txt",
		Args:    exactArgs("a TEXT, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			tok, err := openTokenizer(dir, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			text, err := argument(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			ids, err := tok.Encode(text, !noSpecial)
			if err != nil {
				return err
			}
			w := bufio.NewWriter(cmd.OutOrStdout())
			fmt.Fprintln(w, joinIDs(ids))
			for _, id := range ids {
				piece, _ := tok.Token(id)
				fmt.Fprintf(w, "%8d  %q\n", id, piece)
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&dir, "model", "", "checkpoint `DIR` (default: the bundled gopher-1m)")
	cmd.Flags().BoolVar(&noSpecial, "no-special-tokens", false, "do not add BOS and the like")
	return cmd
}

func newDetokenizeCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "detokenize [--model DIR] IDS",
		Short:   "Show the text of token ids",
		Long:    `Decode comma-separated token ids (- reads standard input) with the model's tokenizer.`,
		Example: "  ilref detokenize 0,271,305",
		Args:    exactArgs("token IDS such as 1,15043, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			tok, err := openTokenizer(dir, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			list, err := argument(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			ids, err := parseIDs(strings.TrimSpace(list))
			if err != nil {
				return err
			}
			text, err := tok.Decode(ids, false)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "model", "", "checkpoint `DIR` (default: the bundled gopher-1m)")
	return cmd
}

func openTokenizer(dir string, stderr io.Writer) (*tokenizer.Tokenizer, error) {
	ckpt, err := openModel(dir, stderr)
	if err != nil {
		return nil, err
	}
	defer ckpt.Close()
	return ckpt.Tokenizer()
}

// argument returns an argument, or standard input where it is "-".
func argument(arg string, stdin io.Reader) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	b, err := io.ReadAll(io.LimitReader(stdin, maxPrompts+1))
	if err == nil && len(b) > maxPrompts {
		err = fmt.Errorf("standard input: more than %d bytes", maxPrompts)
	}
	return string(b), err
}

// exactArgs demands one argument and says what it is.
func exactArgs(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s: %d arguments: expected %s", cmd.Name(), len(args), what)
		}
		return nil
	}
}
