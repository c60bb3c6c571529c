package compare

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/render"
	"github.com/ilref/ilref/compare/report"
)

var update = flag.Bool("update", false, "write the golden texts anew")

func text(t *testing.T, r *report.Report, o render.TextOptions) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, render.Text(&b, r, o))
	return b.String()
}

// What people read, whole: look at testdata/*.txt.
func TestText(t *testing.T) {
	for _, c := range []struct {
		name, target string
		o            Options
		text         render.TextOptions
	}{
		{"fault", base + "-fault-rope_theta", Options{}, render.TextOptions{}},
		{"fault-80", base + "-fault-kv_swapped", Options{Steps: []report.StepRange{{First: 0, Last: 0}}}, render.TextOptions{Width: 80}},
		{"noise", base + "-splitk", Options{Steps: []report.StepRange{{First: 1, Last: 1}}}, render.TextOptions{Width: 100}},
		{"equal-all", base, Options{Steps: []report.StepRange{{First: 1, Last: 1}}, Modules: []string{`layers\.1\.self_attn`, "rotary"}}, render.TextOptions{All: true}},
		{"noise-all-color", base + "-splitk", Options{Steps: []report.StepRange{{First: 1, Last: 1}}, Modules: []string{`layers\.1\.mlp$`, "embed"}}, render.TextOptions{All: true, Color: true, Width: 120}},
		{"ranks", base + "-tp2", Options{}, render.TextOptions{Width: 90}},
		{"chunks", base + "-chunk4", Options{}, render.TextOptions{}},
		{"stubs", base + "-max1000", Options{Steps: []report.StepRange{{First: 0, Last: 0}}}, render.TextOptions{Width: 80}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, open(t, base), open(t, c.target), c.o)
			r.Reference.Dir, r.Target.Dir = "A", "B"
			golden(t, c.name, text(t, r, c.text))
		})
	}
}

// A long report folds the forwards that add nothing.
func TestLongText(t *testing.T) {
	r := run(t, open(t, "gopher-1m-bf16"), open(t, "gopher-1m-bf16-fault"), Options{})
	r.Reference.Dir, r.Target.Dir = "A", "B"
	golden(t, "long", text(t, r, render.TextOptions{}))
	require.Contains(t, text(t, r, render.TextOptions{All: true}), "\n   7  model.norm")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, strings.ReplaceAll(string(want), "\r\n", "\n"), got)
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteErrors(t *testing.T) {
	r := run(t, open(t, base), open(t, base), Options{})
	require.EqualError(t, render.Text(full{}, r, render.TextOptions{}), "disk full")
	require.EqualError(t, render.JSON(full{}, r), "disk full")
}
