package il

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// writeWhole writes a file that appears under its name when it is complete.
func writeWhole(path string, data []byte) error {
	temp := filepath.Join(filepath.Dir(path), fmt.Sprintf(".il-%016x%s", rand.Uint64(), tempSuffix))
	err := os.WriteFile(temp, data, 0o666)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		os.Remove(temp)
		return writeError(path, err)
	}
	return nil
}

// writeError names the file that was meant, not a temporary one.
func writeError(path string, err error) error {
	var pe *fs.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		err = pe.Err
	case errors.As(err, &le):
		err = le.Err
	}
	return fmt.Errorf("write %s: %w", path, err)
}

// makeSessionDir makes an empty directory that can be written to, and leaves
// nothing behind where it cannot.
func makeSessionDir(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("session directory %s exists already and is not empty: give another id, or remove it", dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return dirError(dir, err)
	}
	made := missingDirs(dir)
	err = os.MkdirAll(dir, 0o777)
	if err == nil {
		err = probe(dir)
	}
	if err != nil {
		for _, d := range made { // the deepest first; only what is empty goes
			os.Remove(d)
		}
		return dirError(dir, err)
	}
	return nil
}

func dirError(dir string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		if pe.Path != dir {
			return fmt.Errorf("session directory %s cannot be written: %s: %w", dir, pe.Path, pe.Err)
		}
		err = pe.Err
	}
	return fmt.Errorf("session directory %s cannot be written: %w", dir, err)
}

// missingDirs lists dir and the directories above it that do not exist, the
// deepest first.
func missingDirs(dir string) []string {
	var out []string
	for {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			return out
		}
		out = append(out, dir)
		dir = filepath.Dir(dir)
	}
}

// probe makes sure that files can be made in a directory.
func probe(dir string) error {
	f, err := os.CreateTemp(dir, ".il-*"+tempSuffix)
	if err != nil {
		return &fs.PathError{Op: "create", Path: dir, Err: errors.Unwrap(err)}
	}
	f.Close()
	return os.Remove(f.Name())
}

func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return writeError(dir, err)
	}
	return nil
}

// callList appends to the module_calls.txt of one step, whole lines only.
type callList struct {
	f    *os.File
	size int64
}

func (c *callList) add(step, name string) error {
	path := filepath.Join(step, callsFile)
	if c.f == nil {
		if err := makeDir(step); err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
		if err != nil {
			return writeError(path, err)
		}
		info, err := f.Stat()
		if err != nil {
			f.Close()
			return writeError(path, err)
		}
		c.f, c.size = f, info.Size()
	}
	n, err := c.f.WriteString(name + "\n")
	if err != nil {
		_ = c.f.Truncate(c.size) // a full disk takes a part of a line
		return writeError(path, err)
	}
	c.size += int64(n)
	return nil
}

func (c *callList) close() error {
	if c.f == nil {
		return nil
	}
	f := c.f
	c.f = nil
	if err := f.Close(); err != nil {
		return writeError(f.Name(), err)
	}
	return nil
}
