package baseline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ilref/ilref/internal/atomicfile"
	"github.com/ilref/ilref/internal/workers"
)

// FileName is the fingerprint's name in the folder of a baseline that keeps its
// session: FOLDER/baseline.json beside FOLDER/session-HASH/step_0, …
const FileName = "baseline.json"

// Kept is the copy of a session that a baseline keeps beside its fingerprint.
type Kept struct {
	Session string `json:"session"` // the copy's folder, named by its content
	Files   []File `json:"files"`   // in ascending order of their paths
}

// File is one file of the copy.
type File struct {
	Path   string `json:"path"` // below the copy's folder, with slashes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Source is the files of a session as they were found.
type Source struct {
	dir     string
	files   []sourceFile
	folders []string // a call without tensors leaves an empty one
}

type sourceFile struct {
	path     string // below the session, with slashes
	file     string // where it lies, behind links
	size     int64
	modified time.Time
}

// List finds the files of a session. A link to something within the session
// stands for what it leads to; any other is an error, as is a file that is not
// a regular one.
func List(dir string) (*Source, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	s := &Source{dir: dir}
	if err := s.walk(real, real, ""); err != nil {
		return nil, err
	}
	slices.SortFunc(s.files, func(a, b sourceFile) int { return strings.Compare(a.path, b.path) })
	return s, nil
}

// walk lists the folder at, which is path in the session.
func (s *Source) walk(root, at, path string) error {
	entries, err := os.ReadDir(at)
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	for _, e := range entries {
		file, name := filepath.Join(at, e.Name()), strings.TrimPrefix(path+"/"+e.Name(), "/")
		shown := filepath.Join(s.dir, filepath.FromSlash(name))
		if e.Type()&fs.ModeSymlink != 0 {
			if file, err = filepath.EvalSymlinks(file); err != nil {
				return fmt.Errorf("%s is a broken link: %w", shown, err)
			}
			if rel, err := filepath.Rel(root, file); err != nil || !filepath.IsLocal(rel) {
				return fmt.Errorf("%s is a link out of the session, to %s: not followed", shown, file)
			}
			if rel, err := filepath.Rel(file, at); err == nil && filepath.IsLocal(rel) {
				return fmt.Errorf("%s is a link to a folder that it lies in", shown)
			}
		}
		info, err := os.Stat(file)
		switch {
		case err != nil:
			return fmt.Errorf("session: %w", err)
		case info.IsDir():
			s.folders = append(s.folders, name)
			if err := s.walk(root, file, name); err != nil {
				return err
			}
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is not a regular file", shown)
		default:
			s.files = append(s.files, sourceFile{name, file, info.Size(), info.ModTime()})
		}
	}
	return nil
}

// Keep copies the files into a new folder of dir, reads the copy again and
// holds it against what was read. An error leaves dir as it was, and so does a
// session that has changed since it was listed.
func (s *Source) Keep(ctx context.Context, dir string) (k *Kept, err error) {
	folder, err := atomicfile.MakeDir(filepath.Join(dir, "session"))
	if err != nil {
		return nil, err
	}
	defer folder.Abort()
	tmp := folder.Name
	for _, f := range s.folders {
		if err := os.MkdirAll(filepath.Join(tmp, filepath.FromSlash(f)), 0o777); err != nil {
			return nil, err
		}
	}
	k = &Kept{Files: make([]File, len(s.files))}
	if err := each(ctx, len(s.files), func(i int) (err error) {
		k.Files[i], err = s.files[i].copy(tmp)
		return err
	}); err != nil {
		return nil, err
	}
	if err := k.verify(ctx, tmp); err != nil {
		return nil, fmt.Errorf("the copy is not what was read: %w", err)
	}
	now, err := List(s.dir)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(now.files, s.files) {
		return nil, fmt.Errorf("%s has changed while it was read: the run that writes it is still going", s.dir)
	}
	k.Session = k.name()
	to := filepath.Join(dir, k.Session)
	if err := k.verify(ctx, to); err == nil {
		return k, nil // the same session is kept already
	}
	return k, folder.CommitAs(to)
}

// copy writes the file below dir.
func (f *sourceFile) copy(dir string) (File, error) {
	r, err := os.Open(f.file)
	if err != nil {
		return File{}, err
	}
	defer r.Close()
	w, err := os.OpenFile(filepath.Join(dir, filepath.FromSlash(f.path)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return File{}, err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), r)
	if err == nil {
		err = w.Sync() // accept removes the former session
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return File{}, err
	}
	return File{f.path, n, hex.EncodeToString(h.Sum(nil))}, nil
}

// name is that of the copy's folder: equal sessions have equal names.
func (k *Kept) name() string {
	h := sha256.New()
	for _, f := range k.Files {
		fmt.Fprintf(h, "%s %d %s\n", f.Path, f.Size, f.SHA256)
	}
	return "session-" + hex.EncodeToString(h.Sum(nil))[:12]
}

// check refuses a list that cannot be of a copy.
func (k *Kept) check() error {
	if !filepath.IsLocal(k.Session) || k.Session != k.name() {
		return fmt.Errorf("the kept session is %q, its files make it %q", k.Session, k.name())
	}
	for i, f := range k.Files {
		if !fs.ValidPath(f.Path) || !filepath.IsLocal(filepath.FromSlash(f.Path)) || i > 0 && f.Path <= k.Files[i-1].Path {
			return fmt.Errorf("kept.files[%d] is %q, want paths below the session in ascending order", i, f.Path)
		}
	}
	return nil
}

// LoadKept reads the baseline in a folder and makes sure that the session it
// keeps is what was saved, to the byte. It returns the session's folder too.
func LoadKept(ctx context.Context, dir string) (b *Baseline, session string, err error) {
	path := filepath.Join(dir, FileName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("baseline: %s holds no %s: ildiff baseline save --keep session writes such a folder", dir, FileName)
	}
	if b, err = Load(path); err != nil {
		return nil, "", err
	}
	if b.Kept == nil {
		return nil, "", fmt.Errorf("%s: keeps no session: name the file itself, or save with --keep session", path)
	}
	session = filepath.Join(dir, b.Kept.Session)
	if err := b.Kept.verify(ctx, session); err != nil {
		if ctx.Err() != nil {
			return nil, "", err
		}
		return nil, "", fmt.Errorf("%s: the kept session is not what was saved: %w; restore it, or save a new baseline", dir, err)
	}
	return b, session, nil
}

// verify holds the files below dir against the list.
func (k *Kept) verify(ctx context.Context, dir string) error {
	at := map[string]bool{}
	for _, f := range k.Files {
		at[f.Path] = true
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case !at[filepath.ToSlash(rel)]:
			return fmt.Errorf("%s was not in it", path)
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is not a regular file", path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return each(ctx, len(k.Files), func(i int) error { return k.Files[i].verify(dir) })
}

func (f *File) verify(dir string) error {
	path := filepath.Join(dir, filepath.FromSlash(f.Path))
	r, err := os.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(h, r)
	switch {
	case err != nil:
		return err
	case n != f.Size:
		return fmt.Errorf("%s has %d bytes, not %d", path, n, f.Size)
	case hex.EncodeToString(h.Sum(nil)) != f.SHA256:
		return fmt.Errorf("%s has other content: its SHA-256 is %x, not %s", path, h.Sum(nil), f.SHA256)
	}
	return nil
}

// each calls do for 0 … n-1, several at the same time, until ctx ends, and
// returns its error, or that of the first that has one.
func each(ctx context.Context, n int, do func(int) error) error {
	errs := make([]error, n)
	err := workers.Until(ctx, runtime.GOMAXPROCS(0), n, func(int) {}, func(i int) { errs[i] = do(i) })
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
