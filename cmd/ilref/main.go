// Ilref is a CPU reference engine for Llama-style models. It runs a Hugging
// Face checkpoint and logs the inputs and outputs of its modules exactly as
// vLLM's intermediate tensor logging does on a GPU, so that ildiff can compare
// the two.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/ilref/ilref/internal/cli"
)

func main() {
	var heap []byte // never touched: no memory of the machine is behind it
	if os.Getenv("GOGC") == "" {
		// Most of the heap are a few large activations: looking for garbage costs
		// little, and garbage is as large as they are. A decode has little heap:
		// it is looked through every 32 MB.
		debug.SetGCPercent(25)
		heap = make([]byte, 128<<20)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	runtime.KeepAlive(heap)
	os.Exit(code)
}

// The exit codes, as ildiff's.
const (
	exitOK          = 0
	exitError       = 2
	exitInterrupted = 130
)

// exitCode is an error that is already reported: the verdict of --diff.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// run is the program: what main does, testable.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var code exitCode
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "ilref: interrupted")
		return exitInterrupted
	}
	fmt.Fprintln(stderr, "ilref:", cli.OneLine(err))
	return exitError
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "ilref",
		Short: "Run a Llama-style model on the CPU and log its intermediate tensors as vLLM does",
		Long: `ilref runs a Hugging Face checkpoint on the CPU and logs the inputs and outputs of
its modules through the same pipeline as vLLM's intermediate tensor logging:
same config, module names, call order, files and steps. ildiff compares the
session it writes with a session of a GPU run.`,
		Example:       "  ilref run --prompt 'func main() {' --max-tokens 8",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(newRunCommand(), newReplayCommand(), newInspectCommand(), newTokenizeCommand(), newDetokenizeCommand())
	complete(root)
	return root
}
