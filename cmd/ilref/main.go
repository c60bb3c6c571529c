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
	code := cli.Main("ilref", run)
	runtime.KeepAlive(heap)
	os.Exit(code)
}

// exitOK is the exit code of what went well; the others are those of cli and of
// a verdict.
const exitOK = 0

// exitCode is an error that is already reported: the verdict of --diff.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// run is the program: what main does, testable.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return cli.Execute("ilref", stdout, stderr, func(stdout io.Writer) (int, error) {
		root := newRoot()
		root.SetArgs(args)
		root.SetOut(stdout)
		root.SetErr(stderr)
		err := root.ExecuteContext(ctx)
		var code exitCode
		if errors.As(err, &code) {
			return int(code), nil
		}
		return exitOK, err
	})
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "ilref",
		Short: "Run a Llama-style model on the CPU and log its intermediate tensors as vLLM does",
		Long: `ilref runs a Hugging Face checkpoint on the CPU and logs the inputs and outputs of
its modules through the same pipeline as vLLM's intermediate tensor logging:
same config, module names, call order, files and steps. ildiff compares the
session it writes with a session of a GPU run.

Exit codes: 0 done, 2 usage or input or output error, 70 an internal error, a
fault of the program to be reported, 130 interrupted; run --diff has more.`,
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
