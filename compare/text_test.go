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
)

var update = flag.Bool("update", false, "write the golden texts anew")

func text(t *testing.T, r *Report, o TextOptions) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, WriteText(&b, r, o))
	return b.String()
}

// What people read, whole: look at testdata/*.txt.
func TestText(t *testing.T) {
	for _, c := range []struct {
		name, target string
		o            Options
		text         TextOptions
	}{
		{"fault", base + "-fault-rope_theta", Options{}, TextOptions{}},
		{"fault-80", base + "-fault-kv_swapped", Options{Steps: []StepRange{{0, 0}}}, TextOptions{Width: 80}},
		{"noise", base + "-splitk", Options{Steps: []StepRange{{1, 1}}}, TextOptions{Width: 100}},
		{"equal-all", base, Options{Steps: []StepRange{{1, 1}}, Modules: []string{`layers\.1\.self_attn`, "rotary"}}, TextOptions{All: true}},
		{"noise-all-color", base + "-splitk", Options{Steps: []StepRange{{1, 1}}, Modules: []string{`layers\.1\.mlp$`, "embed"}}, TextOptions{All: true, Color: true, Width: 120}},
		{"ranks", base + "-tp2", Options{}, TextOptions{Width: 90}},
		{"chunks", base + "-chunk4", Options{}, TextOptions{}},
		{"stubs", base + "-max1000", Options{Steps: []StepRange{{0, 0}}}, TextOptions{Width: 80}},
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
	golden(t, "long", text(t, r, TextOptions{}))
	require.Contains(t, text(t, r, TextOptions{All: true}), "\n   7  model.norm")
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
	require.EqualError(t, WriteText(full{}, r, TextOptions{}), "disk full")
	require.EqualError(t, WriteJSON(full{}, r), "disk full")
}
