package il

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/ilref/ilref/internal/workers"
)

// tail is how many bytes of a file's end count: a .pt file ends with the
// directory of its ZIP archive, in which every record has its CRC-32, so that
// the values count although they are not read.
const tail = 1 << 10

// Fingerprint tells recordings apart, wherever they lie: names, sizes and ends
// of all files that hold tensors. What was made of a session names it so.
func (s *Session) Fingerprint() string {
	var files []*TensorFile
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			for _, slot := range c.Slots {
				files = append(files, slot.Tensors...)
			}
		}
	}
	ends := fileEnds(files)
	h, at := sha256.New(), 0
	fmt.Fprintf(h, "%q\n", s.Variant)
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			fmt.Fprintf(h, "%d %q %d\n", st.Number, c.Module, c.Index)
			for _, slot := range c.Slots {
				fmt.Fprintf(h, "%q %q\n", slot.Direction, slot.Path)
				if slot.Stub != nil {
					fmt.Fprintf(h, "%s %v\n", slot.Stub.DType, slot.Stub.Shape)
				}
				for _, f := range slot.Tensors {
					fmt.Fprintf(h, "%q %s\n", f.Device, ends[at])
					at++
				}
			}
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// fileEnds describes every file, many at a time: they may lie far away.
func fileEnds(files []*TensorFile) []string {
	out := make([]string, len(files))
	workers.Each(8*runtime.GOMAXPROCS(0), len(files), func(i int) { out[i] = fileEnd(files[i]) })
	return out
}

// fileEnd describes a file by its size and its last bytes.
func fileEnd(f *TensorFile) string {
	path := cmp.Or(f.within, f.File)
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return "no regular file" // opening it would wait, or fail when it is compared
	}
	file, err := os.Open(path)
	if err != nil {
		return "unreadable"
	}
	defer file.Close()
	n := min(info.Size(), tail)
	b := make([]byte, n)
	if _, err := file.ReadAt(b, info.Size()-n); err != nil && err != io.EOF {
		return "unreadable"
	}
	return fmt.Sprintf("%d %x", info.Size(), sha256.Sum256(b))
}
