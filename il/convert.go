package il

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/internal/atomicfile"
	"github.com/ilref/ilref/internal/workers"
	"github.com/ilref/ilref/tensor"
)

// Write writes a session as the logger does: every tensor in a file, compact, and a
// list of the calls of each step; side files too where tensors are left out
// (stubs). dir appears when all of it is there; it must not exist, or be empty.
// What the session lacks goes into its session.json. progress is called between
// calls, by one goroutine; nil for none.
func (s *Session) Write(ctx context.Context, dir string, by provenance.Writer, progress func(done, total int)) error {
	dir = filepath.Clean(dir)
	entries, err := os.ReadDir(dir)
	switch {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("session directory %s exists already and is not empty: give another name, or remove it", dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return dirError(dir, err)
	}
	made := missingDirs(filepath.Dir(dir))
	defer func() {
		for _, d := range made { // only what is empty goes
			os.Remove(d)
		}
	}()
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return dirError(dir, err)
	}
	temp, err := atomicfile.MakeDir(dir)
	if err != nil {
		return dirError(dir, err)
	}
	defer temp.Abort()
	w := sessionWriter{session: s, dir: temp.Name, sides: s.hasStubs()}
	if err := w.write(ctx, progress); err != nil {
		return w.named(err, dir)
	}
	p := provenance.Record{Status: provenance.Complete, Writer: by}
	if s.lacks != nil {
		p.Lacks = *s.lacks
	}
	if err := writeProvenance(&p, temp.Name); err != nil {
		return w.named(err, dir)
	}
	_ = os.Remove(dir) // where it is empty
	if err := temp.Commit(); err != nil {
		return dirError(dir, err)
	}
	return nil
}

func (s *Session) hasStubs() bool {
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			for _, x := range c.Slots {
				if x.Stub != nil {
					return true
				}
			}
		}
	}
	return false
}

// sessionWriter writes a session into a directory.
type sessionWriter struct {
	session *Session
	dir     string
	sides   bool // with side files
}

// named puts the name that a directory will have in place of that which it has.
func (w *sessionWriter) named(err error, dir string) error {
	if text := err.Error(); strings.Contains(text, w.dir) {
		return errors.New(strings.ReplaceAll(text, w.dir, dir))
	}
	return err
}

func (w *sessionWriter) write(ctx context.Context, progress func(done, total int)) error {
	type job struct {
		step string
		call *Call
	}
	var jobs []job
	for _, st := range w.session.Steps {
		step := filepath.Join(w.dir, "step_"+strconv.Itoa(st.Number))
		if err := makeDir(step); err != nil {
			return err
		}
		var list strings.Builder
		for _, c := range st.Calls {
			for range max(c.ranks(), 1) { // each lists what it calls
				list.WriteString(CallName(c.Module, c.Index) + "\n")
			}
			jobs = append(jobs, job{step, c})
		}
		if err := writeWhole(filepath.Join(step, callsFile), []byte(list.String())); err != nil {
			return err
		}
	}
	errs := make([]error, len(jobs))
	report := func(done int) {
		if progress != nil {
			progress(done, len(jobs))
		}
	}
	if err := workers.Until(ctx, min(maxWriters, runtime.GOMAXPROCS(0)), len(jobs), report, func(i int) { errs[i] = w.call(jobs[i].step, jobs[i].call) }); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return firstOf(errs)
}

// ranks is how many devices recorded the call.
func (c *Call) ranks() int {
	n := 0
	for _, s := range c.Slots {
		n = max(n, len(s.Tensors))
	}
	return n
}

func firstOf(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// call writes the files of one call.
func (w *sessionWriter) call(step string, c *Call) error {
	dir := filepath.Join(step, CallName(c.Module, c.Index))
	if err := makeDir(dir); err != nil {
		return err
	}
	described := map[Direction][]described{}
	for _, s := range c.Slots {
		if s.Stub != nil {
			t := metaTensor(s.Stub.DType, s.Stub.Shape)
			described[s.Direction] = append(described[s.Direction], describedAt(s.Path, t))
			continue
		}
		for i, f := range s.Tensors {
			err := f.With(func(t *tensor.Tensor) error {
				if err := t.CheckCopy(); err != nil {
					return fmt.Errorf("%s: %w", f.File, err)
				}
				if i == 0 {
					described[s.Direction] = append(described[s.Direction], describedAt(s.Path, metaTensor(t.DType, t.Shape)))
				}
				name := fileBase(s.Direction, s.Path) + "_" + deviceSuffix(f.Device) + ".pt"
				return file{path: filepath.Join(dir, name), tensor: t}.write()
			})
			if err != nil {
				return err
			}
		}
	}
	if !w.sides {
		return nil
	}
	return w.side(dir, c, described)
}

// side writes the side files of a call, and the stubs: that of a single result
// over the side file of its name.
func (w *sessionWriter) side(dir string, c *Call, of map[Direction][]described) error {
	for _, d := range []Direction{Inputs, Outputs} {
		data, err := encodeSide(putTogether(d, of[d]))
		if err == nil {
			err = writeWhole(filepath.Join(dir, string(d)+".json"), data)
		}
		if err != nil {
			return err
		}
	}
	for _, s := range c.Slots {
		if s.Stub == nil {
			continue
		}
		stub := appendJSON(nil, object{
			{"shape", dims(s.Stub.Shape)}, {"dtype", "torch." + s.Stub.DType.String()}, {"device", "cpu"}, {"numel", s.Stub.Numel}, {"skipped", s.Stub.Reason},
		}, 0)
		if err := writeWhole(filepath.Join(dir, fileBase(s.Direction, s.Path)+".json"), stub); err != nil {
			return err
		}
	}
	return nil
}

// described is a tensor without values and its place in what a call was given.
type described struct {
	path   []string
	tensor *tensor.Tensor
}

func describedAt(path string, t *tensor.Tensor) described {
	if path == "" {
		return described{nil, t}
	}
	return described{strings.Split(path, "_"), t}
}

func metaTensor(d tensor.DType, shape []int) *tensor.Tensor {
	return &tensor.Tensor{DType: d, Shape: shape, Stride: tensor.ContiguousStride(shape), Meta: true, Device: "meta"}
}

// putTogether is the value that holds tensors at their places: a tuple of
// arguments, in which the others are None, or a result. Arguments by keyword are
// none of a tuple.
func putTogether(d Direction, at []described) Value {
	var items Tuple
	for _, x := range at {
		if len(x.path) == 0 {
			return x.tensor
		}
		i, err := strconv.Atoi(x.path[0])
		if err != nil || i < 0 || i > maxItems {
			continue
		}
		for len(items) <= i {
			items = append(items, nil)
		}
		if len(x.path) == 1 {
			items[i] = x.tensor
			continue
		}
		list, _ := items[i].(List)
		j, err := strconv.Atoi(x.path[1])
		if err != nil || j < 0 || j > maxItems || len(x.path) > 2 {
			continue
		}
		for len(list) <= j {
			list = append(list, nil)
		}
		list[j] = x.tensor
		items[i] = list
	}
	if items == nil && d == Outputs {
		return nil
	}
	if items == nil {
		items = Tuple{}
	}
	return items
}
