package il

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
)

const (
	// digestFiles is how many files of a session are looked into, spread over
	// all: reading is bounded, whatever a session holds.
	digestFiles = 4096
	// digestPart is how much of a file's end and of its middle is read: a zip
	// file's directory, which holds a checksum of every record, lies at the end.
	digestPart = 4 << 10
)

// Digest identifies the tensors of a session wherever it lies: SHA-256 of the
// names and sizes of all its tensor files, in the order of the calls, and of
// parts of them. Sessions with other tensors have another one, but for a change
// of a few values in a session of more than 4,096 files.
func (s *Session) Digest() (string, error) {
	var files []*TensorFile
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			for _, slot := range c.Slots {
				files = append(files, slot.Tensors...)
			}
		}
	}
	h := sha256.New()
	every := max(1, (len(files)+digestFiles-1)/digestFiles)
	for i, f := range files {
		if f.open != nil {
			return "", fmt.Errorf("%s: %s is no file, and has no digest", s.Dir, f.File)
		}
		if err := f.digest(h, s.Dir, i%every == 0); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (f *TensorFile) digest(h hash.Hash, dir string, look bool) error {
	name, err := filepath.Rel(dir, f.File)
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%q ", filepath.ToSlash(name))
	if f.refused != nil {
		return nil
	}
	info, err := os.Stat(f.File)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	size := info.Size()
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(size)))
	if !look {
		return nil
	}
	file, err := os.Open(f.File)
	if err != nil {
		return err
	}
	defer file.Close()
	for _, at := range []int64{size / 2, max(0, size-digestPart)} {
		if _, err := io.Copy(h, io.NewSectionReader(file, at, digestPart)); err != nil {
			return err
		}
	}
	return nil
}
