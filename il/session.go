package il

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/internal/mmap"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/tensor"
)

// Variant is the kind of logger that wrote a session.
type Variant string

// The variants of vLLM's logger.
const (
	VariantA Variant = "A" // JSON side files, stubs for large tensors, module_calls.txt
	VariantB Variant = "B" // tensors and module_calls.txt alone
	VariantC Variant = "C" // the oldest: no module_calls.txt
)

// Session is one intermediate-logging session: the directory of a run, with
// its steps in ascending order.
type Session struct {
	Dir      string
	Variant  Variant
	Steps    []*Step
	Warnings []string // what is odd about the files, a line each

	calls      map[callKey]*Call
	unfinished string

	made            *provenance.Record
	madeErr         error                     // why session.json cannot be used
	batches         map[int]*provenance.Batch // by step
	lagContradicted bool                      // the order of the calls contradicts what made says of the logits
	logitsMoved     bool                      // they lie in the step after their forward, whatever made says
	lacks           *Lacks
	model           string // the architecture of the model that ran, where somebody has told it
}

// Step is one forward of the model, in a directory "step_N". The module that
// computes logits runs after it and is logged in the next one.
type Step struct {
	Number int
	Calls  []*Call // in execution order
}

// Call is one call of a module within a step.
type Call struct {
	Module string // dotted name without the suffix of the call
	Index  int    // 0 for the first call of the step, which has no suffix
	Dir    string
	Slots  []*Slot // inputs, outputs, inputs after the forward; each in natural order

	side        map[Direction]string // the side files there are
	leavesTrace bool                 // it has files, whatever it was given and returned
	listed      bool                 // module_calls.txt has it
}

// Direction tells on which side of the call a value was seen.
type Direction string

// The directions, named as in the file names.
const (
	Inputs        Direction = "inputs"          // positional arguments, before the forward
	Outputs       Direction = "outputs"         // results
	PostFwdInputs Direction = "post_fwd_inputs" // positional arguments, after the forward

	// Noise is of a replay alone: how many times what rounding explains each
	// element of the result in the same slot is off in the replayed session.
	Noise Direction = "noise"
)

// directions in the order of Call.Slots.
var directions = []Direction{Inputs, Outputs, PostFwdInputs, Noise}

// Slot is one place of a tensor in the arguments or results of a call.
type Slot struct {
	Direction Direction
	Path      string        // "" for a single result, "0", "0_1", a dict key
	Tensors   []*TensorFile // one a device, in natural order of devices
	Stub      *Stub         // what is left of a tensor that was too large, or nil
}

// Keyword reports whether the slot is of an argument that was given by keyword: its
// path begins with no number. Hooks that see positional arguments alone are the rule.
func (s *Slot) Keyword() bool {
	return s.Direction != Outputs && s.Path != "" && (s.Path[0] < '0' || s.Path[0] > '9')
}

// Stub describes a tensor that was not written because of max_tensor_size.
type Stub struct {
	Shape  []int
	DType  tensor.DType
	Numel  int
	Reason string // why it was skipped, or why the stub cannot be read
}

// TensorFile is one tensor of a session, not read yet.
type TensorFile struct {
	Device string // "cuda:0", by the file name
	File   string

	refused error                                     // why it must not be opened
	open    func() (*tensor.Tensor, io.Closer, error) // of a virtual tensor, else nil
	within  string                                    // the file that a virtual tensor lies in, "" for none
}

// Open maps the file. The tensor is valid until the closer is closed. It is a view
// of the file: where that becomes shorter while values are read, the program ends,
// unless they are read inside With.
func (f *TensorFile) Open() (*tensor.Tensor, io.Closer, error) {
	switch {
	case f.refused != nil:
		return nil, nil, f.refused
	case f.open != nil:
		return f.open()
	}
	info, err := os.Stat(f.File)
	switch {
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%s is not a regular file", f.File)
	case info.Size() == 0:
		return nil, nil, fmt.Errorf("%s is empty: the run that wrote it is still going, or died, or its disk was full", f.File)
	}
	t, closer, err := pt.OpenTensor(f.File)
	if err != nil {
		return nil, nil, err
	}
	if err := t.CheckClaim(); err != nil {
		closer.Close()
		return nil, nil, fmt.Errorf("%s: %w", f.File, err)
	}
	return t, closer, nil
}

// Load brings a file whose values are to be read into the system's cache, where
// they are not yet.
func (f *TensorFile) Load() {
	if f.refused == nil && f.open == nil {
		mmap.Load(f.File)
	}
}

// Slot returns the slot at a path, nil where there is none.
func (c *Call) Slot(dir Direction, path string) *Slot {
	for _, s := range c.Slots {
		if s.Direction == dir && s.Path == path {
			return s
		}
	}
	return nil
}

type callKey struct {
	step   int
	module string
	call   int
}

// Holds reports whether the session holds a call of a module.
func (s *Session) Holds(step int, module string, call int) bool {
	return s.Call(step, module, call) != nil
}

// Call returns a call of a module, nil where the session holds none.
func (s *Session) Call(step int, module string, call int) *Call {
	return s.calls[callKey{step, module, call}]
}

// Open reads the structure of a session, and no tensor. dir is the session's
// directory, or one above it that holds no other session.
func Open(dir string) (*Session, error) {
	dir = filepath.Clean(dir)
	found, err := findSessions(dir)
	if err != nil {
		return nil, err
	}
	switch len(found) {
	case 1:
		return scanSession(found[0])
	case 0:
		if isStep(dir) {
			return nil, fmt.Errorf("%s is one step of a session: name the directory above it", dir)
		}
		if step := filepath.Dir(dir); isStep(step) {
			return nil, fmt.Errorf("%s is one call of a session: name the directory above %s", dir, step)
		}
		if why := nothingRecorded(dir); why != "" {
			return nil, fmt.Errorf("%s holds no step: %s", dir, why)
		}
		return nil, fmt.Errorf("%s is not a session: expected the directories step_0, step_1, … in it, or one session below it", dir)
	}
	return nil, fmt.Errorf("%s holds %d sessions, name one of them: %s", dir, len(found), plural.First(found, 10))
}

// findSessions returns dir where it has steps, else the directories in it that
// have.
func findSessions(dir string) ([]string, error) {
	entries, err := readDir(dir)
	if err != nil {
		return nil, err
	}
	if hasStep(entries) {
		return []string{dir}, nil
	}
	var found []string
	for _, e := range entries {
		below := filepath.Join(dir, e.Name())
		if !maybeDir(e) {
			continue
		}
		if entries, err := readDir(below); err == nil && hasStep(entries) {
			found = append(found, below)
		}
	}
	return found, nil
}

// readDir lists a directory. It looks first, because opening a pipe would wait
// for a writer.
func readDir(dir string) ([]os.DirEntry, error) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		if archive[strings.ToLower(filepath.Ext(dir))] {
			return nil, fmt.Errorf("%s is an archive: unpack it and name the session directory (it holds step_0, step_1, …)", dir)
		}
		return nil, fmt.Errorf("%s is a file, expected a session directory (it holds step_0, step_1, …)", dir)
	}
	var entries []os.DirEntry
	if err == nil {
		entries, err = os.ReadDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	return entries, nil
}

// archive are the ends of the names of files that may hold a session.
var archive = map[string]bool{".zip": true, ".tar": true, ".tgz": true, ".gz": true, ".xz": true, ".bz2": true, ".zst": true, ".7z": true}

func isStep(dir string) bool {
	_, ok := stepNumber(filepath.Base(dir))
	return ok
}

func hasStep(entries []os.DirEntry) bool {
	for _, e := range entries {
		if _, ok := stepNumber(e.Name()); ok && maybeDir(e) {
			return true
		}
	}
	return false
}

// maybeDir reports whether an entry is a directory or a link.
func maybeDir(e os.DirEntry) bool { return e.IsDir() || e.Type()&os.ModeSymlink != 0 }
