package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/internal/cli/clitest"
	"github.com/ilref/ilref/internal/fixture"
)

var update = flag.Bool("update", false, "write the manual pages anew")

func TestMan(t *testing.T) {
	clitest.Man(t, newRoot(new(int), io.Discard, io.Discard), filepath.Join("..", "..", "docs", "man"), *update)
}

// Every example of every --help, on PyTorch's sessions.
func TestExamples(t *testing.T) {
	sessions := map[string]string{
		"gpu-session": "-splitk", "cpu-session": "", "A": "", "B": "-splitk",
		"good-run": "", "good-1": "", "good-2": "-splitk", "good-3": "-tp2", "new": "-splitk", "new-run": "-splitk",
		"S64": "", "SEMU": "",
	}
	paths := map[string]string{"Llama-3.2-1B": fixture.Checkpoint("llama3-gqa")}
	for name, of := range sessions {
		session := "llama3-gqa-bf16" + of
		switch name {
		case "S64":
			session = "llama3-gqa-fp64"
		}
		paths[name] = fixture.Session(t, session)
	}
	require.NoError(t, setDerived(paths["S64"], paths["B"], provenance.Rerun, "float64"))
	require.NoError(t, setDerived(paths["SEMU"], paths["B"], provenance.Rerun, "bfloat16"))
	paths["sglang-dump"] = fixture.Dump(t, "dumper-sglang")
	paths["renamed"] = renamed(t, paths["A"])
	save := "exec ildiff baseline save good-run -o llama.baseline\n"
	clitest.Examples(t, newRoot(new(int), io.Discard, io.Discard), func(e *testscript.Env) error {
		for name, to := range paths {
			if err := os.Symlink(to, filepath.Join(e.WorkDir, name)); err != nil {
				return err
			}
		}
		return nil
	}, map[string]string{
		"ildiff map":             "rm B\nmv renamed B\n",
		"ildiff baseline check":  save + "exec ildiff baseline save good-run -o llama.golden --keep session\n",
		"ildiff baseline accept": save,
	}, map[string]int{"ildiff A B --max-rel-l2 1e-2 --min-cosine 0.999": 1})
}

// renamed is a session of a model that calls o_proj out_proj.
func renamed(t *testing.T, from string) string {
	dir := filepath.Join(t.TempDir(), "renamed")
	rename := strings.NewReplacer("o_proj", "out_proj")
	require.NoError(t, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		require.NoError(t, err)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		if d.Name() == "module_calls.txt" {
			data = []byte(rename.Replace(string(data)))
		}
		to := filepath.Join(dir, rename.Replace(rel))
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o777))
		return os.WriteFile(to, data, 0o666)
	}))
	return dir
}

// No mistake in the use of a command or a flag is more than a line, or less
// than exit code 2.
func TestUsage(t *testing.T) {
	run := func(args ...string) (int, string, string) {
		var stdout, stderr bytes.Buffer
		exit := run(context.Background(), args, &stdout, &stderr)
		return exit, stdout.String(), stderr.String()
	}
	two := []string{"no-such-1", "no-such-2"}
	clitest.Usage(t, newRoot(new(int), io.Discard, io.Discard), run, map[string][]string{
		"ildiff":                two,
		"ildiff lint":           two[:1],
		"ildiff merge":          two[:1],
		"ildiff baseline save":  {"no-such-1", "-o", "no-such-3"},
		"ildiff baseline check": {t.TempDir(), "no-such-2"},
	})
}
