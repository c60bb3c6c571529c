package main

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/internal/cli"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/tensor"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ildiff": main})
}

// The command line, by scripts: $S holds PyTorch's sessions.
func TestScripts(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"", "-splitk", "-fault-row_scale", "-fault-rope_theta", "-filtered", "-tp2", "-pad5", "-chunk4", "-batch3"} {
		name = "llama3-gqa-bf16" + name
		require.NoError(t, os.Rename(fixture.Session(t, name), filepath.Join(root, strings.TrimPrefix(name, "llama3-gqa-"))))
	}
	require.NoError(t, os.Rename(fixture.Session(t, "llama3-gqa-hf-bf16"), filepath.Join(root, "hf-bf16")))
	trainer := fixture.Session(t, "llama3-gqa-hf-bf16-trainer")
	hf32 := fixture.Session(t, "llama3-gqa-hf-fp32")
	hf := t.TempDir()
	for _, name := range []string{"hf-llama-sdpa", "hf-llama-eager", "hf-llama-chunks", "hf-olmo2-sdpa", "hf-fault-row_scale"} {
		require.NoError(t, os.Rename(fixture.Session(t, name), filepath.Join(hf, name)))
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("S", root)
			e.Setenv("HF32", hf32)
			e.Setenv("HF", hf)
			e.Setenv("LLAMA12", fixture.Architecture("llama-default"))
			e.Setenv("OLMO2", fixture.Architecture("olmo2"))
			e.Setenv("TRAINER", trainer)
			e.Setenv("MODEL", fixture.Checkpoint("llama3-gqa"))
			e.Setenv("ESC", "\x1b[31m")
			e.Setenv("GOPHER", fixture.Session(t, "gopher-1m-bf16"))
			e.Setenv("OTHER", otherPrompt(t))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"json": checkJSON, "code": code, "same": same(t), "parts": parts, "whole": whole, "copydir": copyDir, "derive": derive, "crafted": crafted, "renamed": renameModules, "padded": padLogits, "dump": unpackDump(t)},
	})
}

// otherPrompt is PyTorch's session with another first token.
func otherPrompt(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "other-prompt")
	require.NoError(t, os.CopyFS(dir, os.DirFS(fixture.Session(t, "llama3-gqa-bf16"))))
	file := filepath.Join(dir, "step_0", "model.embed_tokens", "inputs_0_cuda_0.pt")
	require.NoError(t, os.Remove(file))
	require.NoError(t, pt.WriteFile(file, tensor.FromInts(tensor.Int32, []int{2, 5, 9, 200, 33, 7, 80, 11, 12, 13, 60}, 11)))
	return dir
}

// unpackDump unpacks another tool's dump into the folder of its name: dump NAME.
func unpackDump(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS(fixture.Dump(t, args[0]))))
	}
}

// same holds the names and the bytes of two folders against each other: same A B.
func same(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 2 {
			ts.Fatalf("usage: same A B")
		}
		if !maps.Equal(tree(t, ts.MkAbs(args[0])), tree(t, ts.MkAbs(args[1]))) {
			ts.Fatalf("%s and %s differ", args[0], args[1])
		}
	}
}

// derive copies a session as one that was made from another:
// derive DIR SESSION FROM replay|rerun DTYPE.
func derive(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 5 {
		ts.Fatalf("usage: derive DIR SESSION FROM replay|rerun DTYPE")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.CopyFS(dir, os.DirFS(ts.MkAbs(args[1]))))
	ts.Check(setDerived(dir, ts.MkAbs(args[2]), provenance.Derivation(args[3]), args[4]))
}

// setDerived lets a session say that it was made from another.
func setDerived(dir, from string, what provenance.Derivation, dtype string) error {
	s, err := il.Open(from)
	if err != nil {
		return err
	}
	b, err := provenance.Record{Status: provenance.Complete, Derived: provenance.Derived{What: what, Session: s.Fingerprint(), DType: dtype}}.Text()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "session.json"), b, 0o666)
}

// checkJSON reads a file that must be one JSON report with the given verdict:
// json FILE VERDICT.
func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: json FILE VERDICT")
	}
	var r struct {
		Schema, Verdict string
		Tensors         []any
		Coverage        struct{ Compared int }
	}
	d := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	ts.Check(d.Decode(&r))
	if d.More() || r.Schema != "ildiff.report/v1" || r.Verdict != args[1] || r.Coverage.Compared != len(r.Tensors) {
		ts.Fatalf("schema %q, verdict %q, %d compared, %d tensors, more: %v", r.Schema, r.Verdict, r.Coverage.Compared, len(r.Tensors), d.More())
	}
}

// code runs ildiff and checks its exit code, and that an error is one line on
// stderr and nothing on stdout: code N ARGS...
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N ARGS...")
	}
	got := exitCode(ts, ts.Exec("ildiff", args[1:]...))
	out, errs := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	if want := args[0]; want != strconv.Itoa(got) {
		ts.Fatalf("exit code %d, want %s\n%s%s", got, want, out, errs)
	}
	switch {
	case got != cli.ExitError && errs != "":
		ts.Fatalf("stderr: %q", errs)
	case got == cli.ExitError && (out != "" || !strings.HasPrefix(errs, "ildiff: ") || strings.Count(errs, "\n") != 1):
		ts.Fatalf("want one line on stderr and nothing on stdout, got %q and %q", errs, out)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := fixture.Session(t, "gopher-1m-bf16")
	out := filepath.Join(t.TempDir(), "report.txt")
	var stdout, stderr strings.Builder
	require.Equal(t, 130, run(ctx, []string{s, s, "-o", out}, &stdout, &stderr))
	require.Equal(t, "ildiff: interrupted\n", stderr.String())
	require.Empty(t, stdout.String())
	left, err := os.ReadDir(filepath.Dir(out))
	require.NoError(t, err)
	require.Empty(t, left)
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestBrokenStdout(t *testing.T) {
	s := fixture.Session(t, "gopher-1m-bf16")
	for _, format := range []string{"text", "json"} {
		var stderr strings.Builder
		require.Equal(t, 2, run(context.Background(), []string{s, s, "--format", format}, broken{}, &stderr))
		require.Equal(t, "ildiff: cannot write the report: file already closed\n", stderr.String())
	}
}
