package sidefile

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// readers are all ways to read a file, by what a pipe is to them.
var readers = map[string]func(string, int64) ([]byte, error){
	"Read": Read, "ReadNamed": ReadNamed, "ReadJSON": ReadJSON,
	"ReadFS": func(path string, limit int64) ([]byte, error) {
		return ReadFS(os.DirFS(filepath.Dir(path)), filepath.Base(path), path, limit)
	},
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	small, long, empty := write("small", `{"a": 1}`), write("long", "{"+strings.Repeat(" ", 1000)+"}"), write("empty", "")
	sparse := write("sparse", "{")
	require.NoError(t, os.Truncate(sparse, 100<<30))
	for name, read := range readers {
		b, err := read(small, 8)
		require.NoError(t, err, name)
		require.Equal(t, `{"a": 1}`, string(b), name)
		b, err = read(long, 2000)
		require.NoError(t, err, name)
		require.Len(t, b, 1002, name)
		b, err = read(empty, 8)
		require.NoError(t, err, name)
		require.Empty(t, b, name)
		_, err = read(small, 7)
		require.EqualError(t, err, small+" has 8 bytes, expected at most 7", name)
		_, err = read(sparse, 1<<20)
		require.ErrorContains(t, err, "expected at most", name)
		_, err = read(dir, 8)
		want := dir + " is not a regular file but a folder"
		if strings.HasPrefix(name, "ReadN") || name == "ReadJSON" {
			want = dir + ": is a directory, expected a file"
		}
		require.EqualError(t, err, want, name)
		_, err = read(filepath.Join(dir, "none"), 8)
		require.ErrorIs(t, err, os.ErrNotExist, name)
	}
}

// TestNoFiles has what would never end.
func TestNoFiles(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the devices are Linux's")
	}
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink("/dev/zero", link))
	for name, want := range map[string]string{
		"Read": "is not a regular file but a device", "ReadFS": "is not a regular file but a device",
		"ReadNamed": "has more than 1024 bytes", "ReadJSON": "is no JSON object",
	} {
		_, err := readers[name](link, 1024)
		require.ErrorContains(t, err, want, name)
	}
}

// TestPipe reads a process substitution.
func TestPipe(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the names are Linux's")
	}
	for _, name := range []string{"ReadNamed", "ReadJSON"} {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		_, err = w.WriteString(`{"a": 1}`)
		require.NoError(t, err)
		w.Close()
		b, err := readers[name]("/proc/self/fd/"+strconv.Itoa(int(r.Fd())), 100)
		require.NoError(t, err, name)
		require.Equal(t, `{"a": 1}`, string(b), name)
		r.Close()
	}
}
