package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/ilref/ilref/internal/atomicfile"
)

// output is where the report goes: stdout, or a file that appears only when it
// is complete.
type output struct {
	io.Writer
	file *atomicfile.File // nil for stdout and for what is not a regular file
	path string
}

// newOutput fails before the comparison where the file cannot be written.
func newOutput(path string, stdout io.Writer) (*output, error) {
	if path == "" {
		return &output{Writer: stdout}, nil
	}
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		if st.IsDir() {
			return nil, fmt.Errorf("-o %s: is a directory, want a file", path)
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0) // a device or a pipe: nothing to replace
		if err != nil {
			return nil, cannotWrite(path, err)
		}
		return &output{Writer: f}, nil
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, cannotWrite(path, err)
	}
	return &output{Writer: f, file: f, path: path}, nil
}

// cannotWrite names the file that was asked for, not the temporary one.
func cannotWrite(path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("-o %s: cannot write: %w", path, err)
}

// commit puts the finished file in its place.
func (o *output) commit() error {
	if o.file == nil {
		return nil
	}
	return o.file.Commit()
}

// abort removes what was not committed.
func (o *output) abort() {
	if o.file != nil {
		o.file.Abort()
	}
}
