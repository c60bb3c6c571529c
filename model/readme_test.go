package model

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var updateReadme = flag.Bool("update-readme", false, "write README.md's list of architectures")

// TestReadme holds README's list of architectures to what can be built.
func TestReadme(t *testing.T) {
	const file, begin, end = "../README.md", "writes this list -->\n", "\n<!-- end -->"
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(data), begin)
	require.True(t, ok)
	list, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	want := "Architectures: " + strings.Join(Architectures(), ", ") + "."
	if *updateReadme {
		require.NoError(t, os.WriteFile(file, []byte(before+begin+want+end+after), 0o644))
		return
	}
	require.Equal(t, want, list)
}
