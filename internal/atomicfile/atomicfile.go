// Package atomicfile writes files and folders that appear under their names
// only when they are whole. What a killed process has left of them blocks
// nobody: every temporary name is new.
package atomicfile

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
)

// suffix ends the names of what is not whole yet.
const suffix = ".tmp"

// pending are the temporary files and folders of this process.
var pending struct {
	sync.Mutex
	names map[string]bool
}

// temporary is a name beside path that nothing has, and no other process will
// take.
func temporary(path string) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%016x%s", filepath.Base(path), rand.Uint64(), suffix))
}

// File is a file that is being written.
type File struct {
	*os.File
	path string
}

// Create makes a file that will be path.
func Create(path string) (*File, error) {
	name := temporary(path)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	note(name)
	return &File{f, path}, nil
}

// Commit puts the file in its place, over one that may be there.
func (f *File) Commit() error {
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), f.path); err != nil {
		return err
	}
	forget(f.Name())
	return nil
}

// Abort removes a file that was not committed; after Commit it does nothing.
func (f *File) Abort() {
	if forget(f.Name()) {
		f.Close()
		os.Remove(f.Name())
	}
}

// Dir is a folder that is being filled.
type Dir struct {
	Name string // of the folder as long as it is not whole
	path string
}

// MakeDir makes a folder that will be path.
func MakeDir(path string) (*Dir, error) {
	name := temporary(path)
	if err := os.Mkdir(name, 0o777); err != nil {
		return nil, err
	}
	note(name)
	return &Dir{name, path}, nil
}

// Commit puts the folder in its place, where nothing may be.
func (d *Dir) Commit() error { return d.CommitAs(d.path) }

// CommitAs is Commit under another name beside it.
func (d *Dir) CommitAs(path string) error {
	if _, err := os.Lstat(path); err == nil { // an empty folder would be replaced
		return &os.PathError{Op: "rename", Path: path, Err: os.ErrExist}
	}
	if err := os.Rename(d.Name, path); err != nil {
		return err
	}
	forget(d.Name)
	return nil
}

// Abort removes a folder that was not committed; after Commit it does nothing.
func (d *Dir) Abort() {
	if forget(d.Name) {
		os.RemoveAll(d.Name)
	}
}

// RemovePending removes what is not committed, for a process that is about to
// end at once.
func RemovePending() {
	pending.Lock()
	defer pending.Unlock()
	for name := range pending.names {
		os.RemoveAll(name)
	}
}

func note(name string) {
	pending.Lock()
	defer pending.Unlock()
	if pending.names == nil {
		pending.names = map[string]bool{}
	}
	pending.names[name] = true
}

// forget reports whether the name was pending.
func forget(name string) bool {
	pending.Lock()
	defer pending.Unlock()
	was := pending.names[name]
	delete(pending.names, name)
	return was
}
