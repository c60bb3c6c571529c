package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/terminal"
	"github.com/ilref/ilref/internal/workers"
)

// TestMain is also a program that does not look at its context, for TestSignals.
func TestMain(m *testing.M) {
	if os.Getenv("CLI_STUCK") != "" {
		os.Exit(Main("stuck", func(context.Context, []string, io.Writer, io.Writer) int {
			fmt.Println("at work")
			time.Sleep(time.Minute)
			return 0
		}))
	}
	os.Exit(m.Run())
}

// A panic, of the program's goroutine or of one that it waits for, has its own
// exit code and says what it is.
func TestInternalError(t *testing.T) {
	for name, fault := range map[string]func(){
		"here":         func() { panic("a\x1b[31mfault") },
		"in a worker":  func() { workers.Each(2, 10, func(i int) { panic("a\x1b[31mfault") }) },
		"of the index": func() { _ = []int{}[len(os.Args)*0] },
	} {
		var stdout, stderr bytes.Buffer
		code := Execute("prog", &stdout, &stderr, func(io.Writer) (int, error) {
			fault()
			return 0, nil
		})
		require.Equal(t, 70, code, name)
		require.Regexp(t, `^prog: internal error: (a.*fault|runtime error: index out of range).*\nThis is a fault of the program`, stderr.String(), name)
		require.Contains(t, stderr.String(), "execute_test.go", "the stack is that of the fault")
		require.NotContains(t, stderr.String(), "\x1b")
		require.Empty(t, stdout.String())
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// What is not written is an error, also where the command did not look.
func TestStdout(t *testing.T) {
	for _, code := range []int{0, 1, 3} {
		var stderr bytes.Buffer
		got := Execute("prog", full{}, &stderr, func(w io.Writer) (int, error) {
			fmt.Fprintln(w, "a report")
			return code, nil
		})
		require.Equal(t, 2, got)
		require.Equal(t, "prog: cannot write to standard output: no space left on device\n", stderr.String())
	}
	var stdout, stderr bytes.Buffer
	code := Execute("prog", &stdout, &stderr, func(w io.Writer) (int, error) {
		fmt.Fprint(w, "a report")
		require.False(t, terminal.Is(w))
		return 3, nil
	})
	require.Equal(t, 3, code)
	require.Equal(t, "a report", stdout.String())
	require.Empty(t, stderr.String())
}

func TestExecuteErrors(t *testing.T) {
	for want, err := range map[int]error{2: errors.New("a\nb"), 130: fmt.Errorf("x: %w", context.Canceled)} {
		var stderr bytes.Buffer
		require.Equal(t, want, Execute("prog", io.Discard, &stderr, func(io.Writer) (int, error) { return 0, err }))
		require.Equal(t, map[int]string{2: "prog: a b\n", 130: "prog: interrupted\n"}[want], stderr.String())
	}
}

// A signal ends also a program that is in the midst of one long thing.
func TestSignals(t *testing.T) {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "CLI_STUCK=1")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = io.ReadFull(out, make([]byte, len("at work\n")))
		require.NoError(t, err)
		if err := cmd.Process.Signal(s); err != nil {
			_ = cmd.Process.Kill()
			t.Skip("this system has no such signal")
		}
		require.Error(t, cmd.Wait())
		require.Equal(t, 130, cmd.ProcessState.ExitCode())
		require.Equal(t, "stuck: interrupted\n", stderr.String())
	}
}
