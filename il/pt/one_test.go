package pt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/internal/mmap"
)

// A deflated pickle that says little in many bytes is not inflated for a tensor
// of a session, however large the file.
func TestDeflatedPickleOfOneTensor(t *testing.T) {
	noise := make([]byte, 1<<20)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = "0123456789abcdef"[random.IntN(16)]
	}
	text := append(noise, bytes.Repeat([]byte("a"), 15<<20)...)
	pickle := append([]byte("\x80\x02](X"), binary.LittleEndian.AppendUint32(nil, uint32(len(text)))...)
	pickle = append(append(pickle, text...), pickled+"e."...)
	path := filepath.Join(t.TempDir(), "x.pt")
	require.NoError(t, os.WriteFile(path, fixture.CraftDeflated(pickle, make([]byte, 24)), 0o644))
	f, err := Open(path)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, _, err = OpenTensor(path)
	require.ErrorContains(t, err, fmt.Sprintf("data.pkl\" has %d bytes, more than the", len(pickle)))
}

// Objects in a stored pickle are worth less for a tensor of a session, of which
// many are read at a time, than for a file of its own.
func TestPickleOfOneTensor(t *testing.T) {
	lists := "(" + strings.Repeat("]", 1<<17) + "l0"
	text := "X\x00\x00\x04\x00" + strings.Repeat("a", 1<<18) + "0"
	pickle := []byte("\x80\x02" + lists + text + pickled + ".") // 13 MB of objects
	path := filepath.Join(t.TempDir(), "x.pt")
	require.NoError(t, os.WriteFile(path, archiveOf(t, rec{"data.pkl", pickle}, rec{"data/0", make([]byte, 24)}), 0o644))
	f, err := Open(path)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, _, err = OpenTensor(path)
	require.ErrorContains(t, err, "its objects would take more than 10 MiB of memory")
}

func TestFileWithTruncated(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" || runtime.GOOS == "js" {
		t.Skip("a mapped file cannot be cut short here")
	}
	path := filepath.Join(t.TempDir(), "x.pt")
	const n = 1 << 16
	require.NoError(t, os.WriteFile(path, fixture.CraftTensor("ByteStorage", 1, []uint64{n}, []uint64{1}, 0, make([]byte, n)), 0o644))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, os.Truncate(path, 0))
	err = f.With(func(tensors []Named) error { tensors[0].Tensor.Clone(); return nil })
	require.ErrorIs(t, err, mmap.ErrChanged)
}
