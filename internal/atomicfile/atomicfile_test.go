package atomicfile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func listed(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A file appears whole or not at all, and leaves nothing.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.txt")
	f, err := Create(path)
	require.NoError(t, err)
	_, err = f.WriteString("half")
	require.NoError(t, err)
	require.NoFileExists(t, path)
	f.Abort()
	f.Abort()
	require.Empty(t, listed(t, dir))

	for _, text := range []string{"first", "second"} { // over the first
		f, err = Create(path)
		require.NoError(t, err)
		_, err = f.WriteString(text)
		require.NoError(t, err)
		require.NoError(t, f.Commit())
		f.Abort()
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, string(b))
	}
	require.Equal(t, []string{"report.txt"}, listed(t, dir))
	_, err = Create(filepath.Join(dir, "no", "such"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestDir(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kept")
	d, err := MakeDir(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(d.Name, "a"), nil, 0o666))
	other, err := MakeDir(path)
	require.NoError(t, err)
	require.NoError(t, d.Commit())
	require.FileExists(t, filepath.Join(path, "a"))
	require.ErrorIs(t, other.Commit(), os.ErrExist, "whoever comes second replaces nothing")
	other.Abort()
	require.Equal(t, []string{"kept"}, listed(t, dir))
}

// A process that ends at once takes with it what it has not committed.
func TestRemovePending(t *testing.T) {
	dir := t.TempDir()
	_, err := Create(filepath.Join(dir, "a"))
	require.NoError(t, err)
	_, err = MakeDir(filepath.Join(dir, "b"))
	require.NoError(t, err)
	require.Len(t, listed(t, dir), 2)
	RemovePending()
	require.Empty(t, listed(t, dir))
}
