//go:build unix && !aix && !solaris && !illumos

package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// try locks the folder itself, so that no file is left behind.
func try(dir string) (*os.File, bool, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, false, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case err == nil:
		return f, true, nil
	case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOLCK): // a file system without locks
		return f, true, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
		return nil, false, nil
	}
	return nil, false, err
}

func release(f *os.File) { f.Close() }
