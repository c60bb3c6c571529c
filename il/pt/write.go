package pt

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/ilref/ilref/tensor"
)

// Encode writes the file of torch.save(t, name): the logical tensor, stored
// contiguously for the device "cpu" whatever t.Device says. name (a path) gives
// the folder inside the archive.
func Encode(w io.Writer, name string, t *tensor.Tensor) error {
	if t.Meta {
		return errors.New("a meta tensor has no elements to write")
	}
	pickle, store, err := pickleTensor(t)
	if err != nil {
		return err
	}
	size := min(t.NumBytes(), 30<<10) + 2<<10 // a small file is one write
	a := archive{w: bufio.NewWriterSize(w, size), prefix: prefixOf(name)}
	if err := a.addBytes("data.pkl", pickle); err != nil {
		return err
	}
	if err := a.addBytes("byteorder", []byte("little")); err != nil {
		return err
	}
	for i, t := range store {
		each := func(f func([]byte) error) error { return t.Chunks(0, f) }
		if err := a.add(fmt.Sprintf("data/%d", i), uint64(t.NumBytes()), each); err != nil {
			return err
		}
	}
	if err := a.addBytes("version", []byte("3\n")); err != nil {
		return err
	}
	return a.close()
}

// prefixOf returns the folder that torch's writer gives the records: the base
// name up to its last dot, and "archive" where that is not plain ASCII. Names
// of dots alone are "archive" too, so that unzip stays in its folder.
func prefixOf(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		name = name[:dot]
	}
	ascii := strings.IndexFunc(name, func(r rune) bool { return r >= 0x80 }) < 0
	if !ascii || strings.Trim(name, ".") == "" || len(name) > 1024 {
		return "archive"
	}
	return name
}

// WriteFile writes the file of torch.save(t, path). It appears under its name
// when it is whole: a run that dies leaves at most a file that ends in ".tmp".
func WriteFile(path string, t *tensor.Tensor) (err error) {
	f, err := createTemp(filepath.Dir(path))
	if err != nil {
		return writeError(path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := Encode(f, path, t); err != nil {
		return writeError(path, err)
	}
	if err := f.Close(); err != nil {
		return writeError(path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return writeError(path, err)
	}
	return nil
}

// writeError names the file that was asked for, not the temporary one.
func writeError(path string, err error) error {
	var pe *os.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		err = pe.Err
	case errors.As(err, &le):
		err = le.Err
	}
	return fmt.Errorf("write %s: %w", path, err)
}

// createTemp is os.CreateTemp with the permissions of an ordinary new file.
func createTemp(dir string) (*os.File, error) {
	for {
		name := filepath.Join(dir, fmt.Sprintf(".il-%016x.tmp", rand.Uint64()))
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, os.ErrExist) {
			return f, err
		}
	}
}
