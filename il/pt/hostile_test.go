package pt

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Pickles that would take much time or memory for their size. Each is held to
// the bounds of open.
func TestHostilePickles(t *testing.T) {
	const n = 100_000
	str := func(s string) string {
		return fmt.Sprintf("X%c%c%c%c%s", byte(len(s)), byte(len(s)>>8), byte(len(s)>>16), byte(len(s)>>24), s)
	}
	text := strings.Repeat("a", 1<<20)
	laughs := "]q\x00(NNNNNNNNNNe0"
	for i := 1; i < 60; i++ {
		laughs += fmt.Sprintf("]q%c(%se0", i, strings.Repeat(fmt.Sprintf("h%c", i-1), 10))
	}
	for name, pickle := range map[string]string{
		"values":            strings.Repeat("N", n) + strings.Repeat("0", n-1),
		"pops":              strings.Repeat("N0", n) + "N",
		"marks":             strings.Repeat("(1", n) + "N",
		"numbers in text":   strings.Repeat("I01\n0", n) + "N",
		"foreign names":     strings.Repeat("cos\nsystem\n0", n) + "N",
		"allowed names":     strings.Repeat("ctorch\nSize\n0", n) + "N",
		"long integers":     strings.Repeat("\x8a\xff"+strings.Repeat("\x11", 255)+"0", n/50) + "N",
		"lists":             "(" + strings.Repeat("]", n) + "l",
		"dicts":             "(" + strings.Repeat("}", n) + "l",
		"sets":              "(" + strings.Repeat("\x8f", n) + "l",
		"ordered dicts":     "ccollections\nOrderedDict\nq\x010" + strings.Repeat("h\x01)R0", n) + "N",
		"one list, often":   "](" + strings.Repeat("N", n) + "eq\x000(" + strings.Repeat("h\x00", n) + "l",
		"one dict, often":   "}(" + strings.Repeat("K\x01N", n) + "uq\x000(" + strings.Repeat("h\x00", n) + "l",
		"one tensor, often": pickled + "q\x000(" + strings.Repeat("h\x00", n) + "l",
		"long key, often":   "}(" + str(text) + pickled + "uq\x000(" + strings.Repeat("h\x00", n) + "l",
		"tensors":           "ctorch._utils\n_rebuild_tensor_v2\nq\x000" + strings.TrimSuffix(strings.TrimPrefix(pickled, "ctorch._utils\n_rebuild_tensor_v2\n"), "R") + "q\x010(" + strings.Repeat("h\x00h\x01R", n/4) + "l",
		"text encoded":      "c_codecs\nencode\n(" + str(text) + str("latin1") + "tq\x000q\x010" + strings.Repeat("h\x01h\x00R0", n) + "N",
		// gopickle prints the operands of a call that fails: a gigabyte here.
		"no function":     str(text) + "q\x000(" + strings.Repeat("h\x00", 1000) + "l)R",
		"no class":        str(text) + "q\x000(" + strings.Repeat("h\x00", 1000) + "l)\x81",
		"no object":       str(text) + "q\x000(" + strings.Repeat("h\x00", 1000) + "l}b",
		"dict of a tuple": "ccollections\nOrderedDict\n" + str(text) + "q\x000(" + strings.Repeat("h\x00", 1000) + "tR",
		"laughs":          laughs + "h\x3b",
	} {
		t.Run(name, func(t *testing.T) {
			b := archiveOf(t, rec{"data.pkl", []byte("\x80\x02" + pickle + ".")}, rec{"data/0", make([]byte, 24)})
			path := filepath.Join(t.TempDir(), "x.pt")
			require.NoError(t, os.WriteFile(path, b, 0o644))
			if f, err := open(t, path, len(b)); err == nil {
				require.NoError(t, f.Close())
			}
		})
	}
}
