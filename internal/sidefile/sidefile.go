// Package sidefile reads the files that are small beside tensors and weights:
// configs, lists, templates, policies, prompts. They are read whole, so a
// limit says how large one can be, and what is no file is not waited for.
package sidefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/go-json-experiment/json/jsontext"
)

// maxStream bounds what is read of a pipe or a device, whose size nothing
// tells before.
const maxStream = 64 << 20

// JSONError is a decoder's error of the file of a run without the decoder's own
// words.
func JSONError(err error) error {
	var se *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the JSON ends too early: the run that wrote it is still going, or died")
	case errors.As(err, &se):
		return fmt.Errorf("invalid JSON at byte %d: %w", se.ByteOffset, se.Err)
	}
	return err
}

// ErrNotObject is the cause of ReadJSON's error where the file begins otherwise.
var ErrNotObject = errors.New("is no JSON object")

// Read reads a regular file of at most limit bytes. Its errors are of one line
// and name the file.
func Read(path string, limit int64) ([]byte, error) {
	st, err := stat(path)
	if err != nil {
		return nil, err
	}
	if err := check(path, st, limit); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return readAll(f, path, limit)
}

// ReadFS is Read of a file of fsys. Errors call it path.
func ReadFS(fsys fs.FS, name, path string, limit int64) ([]byte, error) {
	st, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if err := check(path, st, limit); err != nil {
		return nil, err
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	return readAll(f, path, limit)
}

// ReadNamed is Read of a file that the user names, which may be a pipe, such as
// a shell's process substitution. Of what has no size 64 MiB are read at most.
func ReadNamed(path string, limit int64) ([]byte, error) {
	f, limit, err := open(path, limit)
	if err != nil {
		return nil, err
	}
	return readAll(f, path, limit)
}

// ReadJSON is ReadNamed of a JSON object, which can be large: what begins
// otherwise is not read to its end.
func ReadJSON(path string, limit int64) ([]byte, error) {
	f, limit, err := open(path, limit)
	if err != nil {
		return nil, err
	}
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	head = head[:n]
	if text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n"); len(text) > 0 && text[0] != '{' || len(text) == 0 && n == 512 {
		return nil, errors.Join(fmt.Errorf("%s: %w: it begins with %.20q", path, ErrNotObject, text), f.Close())
	}
	if err != nil { // it has no more
		f.Close()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil
		}
		return head, err
	}
	rest, err := readAll(f, path, limit-int64(n))
	return append(head, rest...), err
}

// open opens a file that the user names, and says how much of it may be read.
func open(path string, limit int64) (fs.File, int64, error) {
	st, err := stat(path)
	switch {
	case err != nil:
		return nil, 0, err
	case st.IsDir():
		return nil, 0, fmt.Errorf("%s: is a directory, expected a file", path)
	case !st.Mode().IsRegular():
		limit = min(limit, maxStream)
	default:
		err = check(path, st, limit)
	}
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Open(path)
	return f, limit, err
}

// stat looks at a file before it is opened, for opening a pipe waits for its
// writer.
func stat(path string) (fs.FileInfo, error) {
	st, err := os.Stat(path)
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = &fs.PathError{Op: "open", Path: path, Err: pe.Err} // what it is for
	}
	return st, err
}

func check(path string, st fs.FileInfo, limit int64) error {
	switch {
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file but a %s", path, kind(st.Mode()))
	case st.Size() > limit:
		return fmt.Errorf("%s has %d bytes, expected at most %d", path, st.Size(), limit)
	}
	return nil
}

func readAll(f fs.File, path string, limit int64) ([]byte, error) {
	defer f.Close()
	var out bytes.Buffer
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Size() <= limit {
		out.Grow(int(st.Size()) + bytes.MinRead)
	}
	n, err := out.ReadFrom(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, err
	case n > limit: // a pipe, a device, or a file that grows
		return nil, fmt.Errorf("%s has more than %d bytes, which no such file has", path, limit)
	}
	return out.Bytes(), nil
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}
