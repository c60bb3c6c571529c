//go:build unix

package compare

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/internal/mmap"
	"github.com/ilref/ilref/tensor"
)

// A file that somebody cuts short while it is measured is an error, no crash.
func TestFileCutWhileMeasured(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outputs_cpu.pt")
	require.NoError(t, pt.WriteFile(path, tensor.New(tensor.Float32, 1<<20)))
	f := &il.TensorFile{File: path}
	err := il.WithBoth(f, f, func(x, y *tensor.Tensor) error {
		require.NoError(t, os.Truncate(path, 4096))
		_, err := metric.Measure(x, y, nil)
		return err
	})
	require.ErrorIs(t, err, mmap.ErrChanged)
	require.ErrorContains(t, err, path+": file changed while it was read")
}
