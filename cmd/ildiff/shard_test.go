package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// parts runs the parts of a comparison, each in a process of its own, and
// leaves their reports as part-I.json: parts N ARGS...
func parts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: parts N ARGS...")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for i := 1; i <= n; i++ {
		ts.Check(ts.Exec("ildiff", append(args[1:], "--shard", fmt.Sprintf("%d/%d", i, n), "-o", fmt.Sprintf("part-%d.json", i))...))
		if out := ts.ReadFile("stdout"); out != "" {
			ts.Fatalf("stdout: %q", out)
		}
	}
}

// whole runs a comparison at once and puts the parts that parts has left
// together: both give the same bytes in every format, and the same exit code.
// whole N CODE ARGS...
func whole(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: whole N CODE ARGS...")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	var all, merged, reports []string
	for _, format := range formats {
		all = append(all, "--format", format, "-o", "whole."+format)
		merged = append(merged, "--format", format, "-o", "merged."+format)
	}
	for i := n; i > 0; i-- {
		reports = append(reports, fmt.Sprintf("part-%d.json", i))
	}
	for _, run := range [][]string{append(args[2:], all...), append(append([]string{"merge"}, reports...), merged...)} {
		if got := exitCode(ts, ts.Exec("ildiff", run...)); strconv.Itoa(got) != args[1] {
			ts.Fatalf("exit code %d, want %s: %s", got, args[1], ts.ReadFile("stderr"))
		}
		if errs := ts.ReadFile("stderr"); errs != "" {
			ts.Fatalf("stderr: %q", errs)
		}
	}
	for _, format := range formats {
		a, err := os.ReadFile(ts.MkAbs("whole." + format))
		ts.Check(err)
		b, err := os.ReadFile(ts.MkAbs("merged." + format))
		ts.Check(err)
		if len(a) == 0 || !bytes.Equal(a, b) {
			ts.Fatalf("%s: %d bytes of the whole, %d of the parts:\n%s", format, len(a), len(b), differing(a, b))
		}
	}
	for _, name := range reports {
		ts.Check(os.Rename(ts.MkAbs(name), ts.MkAbs(filepath.Join("last", name))))
	}
}

// differing is where two texts part.
func differing(a, b []byte) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	cut := func(x []byte) []byte { return x[max(0, min(i-100, len(x))):min(i+200, len(x))] }
	return fmt.Sprintf("%s\n---\n%s", cut(a), cut(b))
}

func exitCode(ts *testscript.TestScript, err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// copyDir copies a folder: copydir FROM TO.
func copyDir(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: copydir FROM TO")
	}
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(ts.MkAbs(args[0]))))
}
