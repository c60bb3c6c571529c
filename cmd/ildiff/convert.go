package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ilref/ilref/il/foreign"
	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/internal/cli"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/internal/progress"
	"github.com/ilref/ilref/internal/terminal"
)

const convertLong = `Convert writes another tool's dump as a session: SGLang's dumper (and vLLM's port
of it), SGLang's PassNNNNN.pt, msprobe, vllm-neuron, vLLM's extracted hidden states.
The commands take such a dump as it is; a session is for keeping, for other
readers, and for looking at what was made of the names. Modules, slots, calls and
steps are those of vLLM's logger, the logits of step n in step n+1. What the dump
lacks is noted in session.json. Warnings go to standard error.

SESSION must not exist, or be empty, and appears when it is whole.`

// addConvert makes "ildiff convert DUMP -o SESSION" part of ildiff.
func addConvert(root *cobra.Command, stdout, stderr io.Writer) {
	var path string
	cmd := &cobra.Command{
		Use:     "convert DUMP -o SESSION",
		Short:   "write another tool's dump as a session",
		Long:    convertLong,
		Example: "  ildiff convert sglang-dump -o sglang-session",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("convert: want one dump's directory, but got %d (see ildiff convert --help)", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if path == "" {
				return errors.New("convert: -o SESSION says where the session goes (see ildiff convert --help)")
			}
			return convert(cmd.Context(), args[0], path, stdout, stderr)
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().StringVarP(&path, "output", "o", "", "`SESSION` directory to write")
	root.AddCommand(cmd)
}

func convert(ctx context.Context, dir, path string, stdout, stderr io.Writer) error {
	s, err := foreign.Open(dir)
	if err != nil {
		return err
	}
	if s.Lacks() == nil {
		return fmt.Errorf("%s is a session already: nothing to convert", s.Dir)
	}
	if why := s.Unfinished(); why != "" {
		return fmt.Errorf("%s is not whole, and a session of it would look so: %s", s.Dir, why)
	}
	line := progress.New(stderr)
	calls := 0
	err = s.Write(ctx, path, provenance.Writer{Name: "ildiff", Version: cli.Version()}, func(done, total int) {
		calls = total
		line.Update(done, total, "calls written")
	})
	line.Done()
	if err != nil {
		return err
	}
	for _, w := range s.Warnings {
		fmt.Fprintln(stderr, "ildiff: warning:", terminal.Printable(w))
	}
	_, err = fmt.Fprintf(stdout, "session %s: %s, %s\n", path, plural.Count(len(s.Steps), "step"), plural.Count(calls, "call"))
	return err
}
