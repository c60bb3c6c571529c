// Package layers holds the packages to the order in which they build on each
// other. It is a test alone: docs/architecture.md tells why the order is so.
package layers

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/ilref/ilref"

// order is every package, from the ground up. Those of one line know nothing of
// each other, and nothing of the lines below.
var order = [][]string{
	{"tensor", "topology", "internal/atomicfile", "internal/filelock", "internal/fixture", "internal/mmap", "internal/nearest", "internal/plural", "internal/pyregex", "internal/sidefile", "internal/terminal", "internal/workers", "model/chat", "model/gopher1m", "model/tokenizer"},
	{"internal/kernel", "internal/kernel/neon", "internal/cli", "internal/reportcase", "internal/progress", "internal/texttab", "il/provenance", "il/pt", "model/safetensors"},
	{"internal/cli/man", "il", "compare/metric"},
	{"il/requests"},
	{"internal/cli/clitest", "il/foreign", "il/inspect", "il/lint", "model/nn"},
	{"model"},
	{"ref"},
	{"ref/evidence", "internal/faults"},

	// A comparison, one line a stage.
	{"compare/rounding", "compare/shard", "compare/normalize"},
	{"compare/report"},
	{"compare/pairing", "compare/render", "compare/policy", "compare/baseline", "compare/setup"},
	{"compare/measure"},
	{"compare/judge"},
	{"compare/diagnose"},
	{"compare/partial"},
	{"compare"},
	{"compare/comparetest", "internal/faults/search"},

	{"cmd/ildiff", "cmd/ilref"},
}

// apart is what a folder with all in it must do without, though it stands
// lower.
var apart = []struct{ who, without, why string }{
	{"compare", "model", "sessions that a model must make are handed to a comparison as sessions"},
	{"compare", "ref", "sessions that a model must make are handed to a comparison as sessions"},
	{"compare/render", "compare/normalize", "a format is written from the report alone"},
	{"compare/judge", "internal/mmap", "what the judge needs of files is measured before"},
	{"compare/judge", "internal/sidefile", "what the judge needs of files is measured before"},
	{"compare/judge", "os", "what the judge needs of files is measured before"},
	{"topology", module, "a model is described by data"},
}

func TestImportsPointDownwards(t *testing.T) {
	level := map[string]int{}
	for i, line := range order {
		for _, p := range line {
			require.NotContains(t, level, p, "stands twice")
			level[p] = i
		}
	}
	imports := read(t, filepath.Join("..", ".."))
	for p := range level {
		require.Contains(t, imports, p, "there is no package %s (any more): take it out of the order", p)
	}
	for p, files := range imports {
		at, ok := level[p]
		if !ok {
			t.Errorf("%s is new: give it a line in the order, below all that it imports", p)
			continue
		}
		for _, x := range files {
			if q, ours := strings.CutPrefix(x.path, module+"/"); ours && level[q] >= at {
				t.Errorf("%s imports %s, which does not stand below %s in the order: move what both need down, or hand it in", x.file, q, p)
			}
			for _, a := range apart {
				if within(p, a.who) && (within(x.path, a.without) || within(x.path, module+"/"+a.without)) {
					t.Errorf("%s imports %s: %s", x.file, x.path, a.why)
				}
			}
		}
	}
}

// within reports whether a package is a folder's or below it.
func within(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

type imported struct{ file, path string }

// read lists the imports of every package for every platform, tests left out,
// by the package's folder.
func read(t *testing.T, root string) map[string][]imported {
	out := map[string][]imported{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(file, "go.mod"))
			if file != root && (err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir // another module, or no code
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		p := path.Dir(rel)
		if _, ok := out[p]; !ok {
			out[p] = nil // a package without imports is one too
		}
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			out[p] = append(out[p], imported{rel, name})
		}
		return nil
	})
	require.NoError(t, err)
	return out
}
