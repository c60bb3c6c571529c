//go:build !unix || aix || solaris || illumos

package filelock

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// stale is when a lock's file is one that a killed process has left.
const stale = 10 * time.Minute

// try makes a file that only one process can make. Windows locks no folders.
func try(dir string) (*os.File, bool, error) {
	name := filepath.Join(dir, ".ildiff.lock")
	if st, err := os.Stat(name); err == nil && time.Since(st.ModTime()) > stale {
		os.Remove(name) // which fails while another process has it open
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	switch {
	case err == nil:
		return f, true, nil
	case errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrPermission):
		return nil, false, nil
	}
	return nil, false, err
}

func release(f *os.File) {
	f.Close()
	os.Remove(f.Name())
}
