// Package clitest holds the command lines of both programs to what they say of
// themselves.
package clitest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/cli"
	"github.com/ilref/ilref/internal/cli/man"
)

// Examples runs the examples that the help of every command shows. The test's
// main must have the program as a command of testscript. setup makes what the
// examples name, before holds script lines by a command's path that make what
// its examples name beyond that, and exits the exit codes that are not 0.
func Examples(t *testing.T, root *cobra.Command, setup func(*testscript.Env) error, before map[string]string, exits map[string]int) {
	dir := t.TempDir()
	shown := map[string]bool{}
	for _, cmd := range cli.Commands(root) {
		require.NotEmpty(t, cmd.Example, "%s --help has no example", cmd.CommandPath())
		script := before[cmd.CommandPath()]
		for line := range strings.Lines(cmd.Example) {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			shown[line] = true
			script += scriptLine(line, exits[line])
		}
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".txt"
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o666))
	}
	for line := range exits {
		require.True(t, shown[line], "no help shows %q", line)
	}
	testscript.Run(t, testscript.Params{Dir: dir, Setup: setup, Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": code}})
}

// scriptLine is a line of a shell as testscript has it.
func scriptLine(line string, exit int) string {
	before, after := "", ""
	if cmd, file, ok := strings.Cut(line, " < "); ok {
		line, before = cmd, "stdin "+file+"\n"
	}
	if cmd, file, ok := strings.Cut(line, " > "); ok {
		line, after = cmd, "cp stdout "+file+"\n"
	}
	return fmt.Sprintf("%scode %d %s\n%s", before, exit, line, after)
}

// code N PROGRAM ARGS... runs a program that must end with the exit code N.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N PROGRAM ARGS...")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Check(err)
		}
		got = exit.ExitCode()
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// Run runs a program in this process.
type Run func(args ...string) (exit int, stdout, stderr string)

// Usage makes every mistake there is in the use of each command and flag, and
// wants one line on standard error and exit code 2. operands are what a command
// needs to look at its flags at all, by its path.
func Usage(t *testing.T, root *cobra.Command, run Run, operands map[string][]string) {
	for _, cmd := range cli.Commands(root) {
		path := strings.Fields(cmd.CommandPath())[1:]
		with := func(args ...string) []string { return append(append([]string{}, path...), args...) }
		mistake := func(says string, args []string) {
			t.Helper()
			exit, stdout, stderr := run(args...)
			require.Equal(t, 2, exit, "%q\n%s%s", args, stdout, stderr)
			require.Empty(t, stdout, "%q", args)
			require.Regexp(t, `^`+root.Name()+`: [^\n]*\n$`, stderr, "%q", args)
			require.Contains(t, stderr, says, "%q", args)
		}
		mistake("--nope", with("--nope"))
		mistake("-Z", with("-Z"))
		if !helps(cmd) {
			mistake("", with())
		}
		if cmd.Name() != "help" {
			mistake("", with("no-such-1", "no-such-2", "no-such-3", "no-such-4"))
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			name := "--" + f.Name
			switch words := values(cmd, f); {
			case f.NoOptDefVal != "":
				mistake(name, with(name+"=maybe"))
				return
			case len(words) > 0:
				mistake(name+` "nope"`, with(append(operands[cmd.CommandPath()], name+"=nope")...))
			case !strings.HasPrefix(f.Value.Type(), "string"):
				mistake(name, with(name+"=nope"))
			}
			mistake(name, with(name))
		})
	}
}

// helps reports whether a command that is given nothing shows its help.
func helps(cmd *cobra.Command) bool { return cmd.Name() == "help" || cmd.Name() == "ilref" }

// values are the words that a flag knows, none for a flag that takes others.
func values(cmd *cobra.Command, f *pflag.Flag) []string {
	complete, ok := cmd.GetFlagCompletionFunc(f.Name)
	if !ok {
		return nil
	}
	words, directive := complete(cmd, nil, "")
	if directive != cobra.ShellCompDirectiveNoFileComp {
		return nil
	}
	return words
}

// Man holds the manual pages in dir to the commands, or writes them.
func Man(t *testing.T, root *cobra.Command, dir string, write bool) {
	pages := man.Pages(root)
	for name, page := range pages {
		file := filepath.Join(dir, name)
		if write {
			require.NoError(t, os.WriteFile(file, []byte(page), 0o666))
		}
		old, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, strings.ReplaceAll(string(old), "\r\n", "\n"), page, "%s is stale: go test ./cmd/%s -run TestMan -update", file, root.Name())
	}
	found, err := filepath.Glob(filepath.Join(dir, root.Name()+"*.1"))
	require.NoError(t, err)
	require.Len(t, found, len(pages), "pages of commands that are gone")
}
