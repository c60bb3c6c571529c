package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/ilref/ilref/internal/atomicfile"
	"github.com/ilref/ilref/internal/terminal"
	"github.com/ilref/ilref/internal/workers"
)

// Exit codes of both programs beside those of a verdict.
const (
	ExitError       = 2   // usage, input or output
	ExitInternal    = 70  // a fault of the program (EX_SOFTWARE of sysexits.h)
	ExitInterrupted = 130 // SIGINT or SIGTERM
)

// grace is how long a program may take to end in order after a signal. What
// asks no context, such as one large matrix product, ends with the process.
const grace = 500 * time.Millisecond

// Main runs a program with the process's arguments, until its end or a signal,
// and returns its exit code. A second signal ends the process at once.
func Main(program string, run func(ctx context.Context, args []string, stdout, stderr io.Writer) int) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		stop()
		time.Sleep(grace)
		atomicfile.RemovePending()
		fmt.Fprintln(os.Stderr, program+": interrupted")
		os.Exit(ExitInterrupted)
	})
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// Execute runs a command line and returns its exit code: the one that run
// returns, unless it fails, is interrupted, could not write to standard output,
// which it gets as it should use it, or panics.
func Execute(program string, stdout, stderr io.Writer, run func(stdout io.Writer) (int, error)) (code int) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprint(stderr, internalError(program, r, debug.Stack()))
			code = ExitInternal
		}
	}()
	out := &output{w: stdout}
	code, err := run(out)
	if err == nil && out.err != nil {
		err = fmt.Errorf("cannot write to standard output: %w", out.err)
	}
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, program+": interrupted")
		return ExitInterrupted
	case err != nil:
		fmt.Fprintln(stderr, program+":", OneLine(err))
		return ExitError
	}
	return code
}

// internalError is what is said of a panic.
func internalError(program string, r any, stack []byte) string {
	if p, ok := r.(*workers.Panic); ok {
		r, stack = p.Value, p.Stack // where it happened, not where it was waited for
	}
	return fmt.Sprintf("%s: internal error: %s\n%s", program, terminal.Printable(fmt.Sprint(r)),
		"This is a fault of the program, whatever it was given. Please report it: the command line, this text\n"+
			"with what follows, and if you can the files that it read.\n\n"+string(stack))
}

// output is standard output that remembers its first error, for the many
// writers that do not look at theirs.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(b []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(b)
	o.err = err
	return n, err
}

// Unwrap returns the writer itself, which may be a terminal.
func (o *output) Unwrap() io.Writer { return o.w }
