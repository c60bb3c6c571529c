package requests

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/internal/mmap"
	"github.com/ilref/ilref/tensor"
)

// Token ids of a file that is cut short after it was opened are an error.
func TestCutShort(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" || runtime.GOOS == "js" {
		t.Skip("a mapped file cannot be cut short here")
	}
	path := filepath.Join(t.TempDir(), "x.pt")
	const n = 1 << 13
	require.NoError(t, os.WriteFile(path, fixture.CraftTensor("LongStorage", 8, []uint64{n}, []uint64{1}, 0, make([]byte, 8*n)), 0o644))
	file := il.VirtualTensor("cuda:0", path, func() (*tensor.Tensor, io.Closer, error) {
		x, c, err := (&il.TensorFile{File: path}).Open()
		if err == nil {
			err = os.Truncate(path, 0)
		}
		return x, c, err
	})
	call := &il.Call{Module: "model.embed_tokens", Slots: []*il.Slot{{Direction: il.Inputs, Path: "0", Tensors: []*il.TensorFile{file}}}}
	_, err := ints(&il.Session{}, call, "0")
	require.ErrorIs(t, err, mmap.ErrChanged)
}
