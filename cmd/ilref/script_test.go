package main

import (
	"context"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ilref/ilref/internal/fixture"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ilref": func() {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}})
}

// TestScripts runs the command lines of testdata/script. In them $LLAMA, $SHARDED
// and $ODD are checkpoints.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("LLAMA", fixture.Checkpoint("llama3-gqa"))
			env.Setenv("ESC", "\x1b[31m")
			env.Setenv("SHARDED", fixture.Checkpoint("llama-sharded"))
			env.Setenv("ARCHITECTURES", fixture.Architecture(""))
			env.Setenv("ODD", fixture.Checkpoint("hf-odd"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// session NAME unpacks a session of PyTorch's into the folder NAME.
			"session": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS(fixture.Session(t, args[0]))))
			},
			// dump NAME unpacks another tool's dump into the folder NAME.
			"dump": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS(fixture.Dump(t, args[0]))))
			},
			// checkpoint NAME DIR copies a checkpoint.
			"checkpoint": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(fixture.Checkpoint(args[0]))))
			},
			// replace FILE OLD NEW edits a file.
			"replace": func(ts *testscript.TestScript, _ bool, args []string) {
				text := ts.ReadFile(args[0])
				edited := replaceOnce(text, args[1], args[2])
				if edited == text {
					ts.Fatalf("%s does not hold %q", args[0], args[1])
				}
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(edited), 0o644))
			},
			// samefiles DIR1 DIR2 compares names and bytes of all files.
			"samefiles": func(ts *testscript.TestScript, _ bool, args []string) {
				a, b := readTree(ts, args[0]), readTree(ts, args[1])
				if len(a) == 0 || len(a) != len(b) {
					ts.Fatalf("%d and %d files", len(a), len(b))
				}
				for name, data := range a {
					if other, ok := b[name]; !ok || other != data {
						ts.Fatalf("%s differs", name)
					}
				}
			},
			// truncate FILE cuts a file in half.
			"truncate": func(ts *testscript.TestScript, _ bool, args []string) {
				path := ts.MkAbs(args[0])
				st, err := os.Stat(path)
				ts.Check(err)
				ts.Check(os.Truncate(path, st.Size()/2))
			},
		},
	})
}

func replaceOnce(s, old, new string) string { return strings.Replace(s, old, new, 1) }

func readTree(ts *testscript.TestScript, dir string) map[string]string {
	out := map[string]string{}
	root := os.DirFS(ts.MkAbs(dir))
	ts.Check(fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var b []byte
			b, err = fs.ReadFile(root, path)
			out[path] = string(b)
		}
		return err
	}))
	return out
}
