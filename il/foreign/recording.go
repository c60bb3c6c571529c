package foreign

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// recording collects what a dump holds, as calls of a session.
type recording struct {
	dir   string
	lacks il.Lacks
	steps map[int]*openStep
	hf    bool // its modules have transformers' names

	warnings   []string
	unfinished string
	hint       string // how a dump comes to hold modules
}

// openStep is a step that is being put together.
type openStep struct {
	calls []*il.Call
	at    map[callID]*il.Call
	last  map[string]*il.Call // the last call of each device, after which its next one comes

	ids, positions map[string]*il.TensorFile // by device: tokens that the dump holds outside of modules
}

type callID struct {
	module string
	index  int
}

// value is one tensor of a dump, or what is left of one.
type value struct {
	device string
	id     callID
	dir    il.Direction
	slot   string
	file   *il.TensorFile // nil for a stub
	stub   *il.Stub
}

func newRecording(dir string, lacks il.Lacks) *recording {
	return &recording{dir: dir, lacks: lacks, steps: map[int]*openStep{}}
}

func (r *recording) warn(format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
}

// warnNames warns of things once for all of them.
func (r *recording) warnNames(what string, names []string) {
	if len(names) == 0 {
		return
	}
	for i, n := range names {
		names[i] = printable(n)
	}
	r.warn("%s: %s: %s", r.dir, what, plural.First(names, 5))
}

func (r *recording) step(n int) *openStep {
	s := r.steps[n]
	if s == nil {
		s = &openStep{at: map[callID]*il.Call{}, last: map[string]*il.Call{}, ids: map[string]*il.TensorFile{}, positions: map[string]*il.TensorFile{}}
		r.steps[n] = s
	}
	return s
}

// call finds a call, or makes it behind the last one of the device.
func (s *openStep) call(dir, device string, id callID) *il.Call {
	c := s.at[id]
	if c == nil {
		c = il.NewCall(id.module, id.index, dir, nil)
		s.at[id] = c
		i := len(s.calls)
		if last := s.last[device]; last != nil {
			i = slices.Index(s.calls, last) + 1
		} else if len(s.last) > 0 && topology.Of(id.module).Kind == topology.Logits {
			i = 0
		}
		s.calls = slices.Insert(s.calls, i, c)
	}
	s.last[device] = c
	return c
}

// add adds a tensor to a step.
func (r *recording) add(step int, v value) {
	c := r.step(step).call(r.dir, v.device, v.id)
	slot := c.Slot(v.dir, v.slot)
	if slot == nil {
		slot = &il.Slot{Direction: v.dir, Path: v.slot}
		c.Slots = append(c.Slots, slot)
	}
	switch {
	case v.file == nil:
		slot.Stub = v.stub
	case !slices.ContainsFunc(slot.Tensors, func(f *il.TensorFile) bool { return f.Device == v.device }):
		slot.Tensors = append(slot.Tensors, v.file)
	}
}

// session is the recording as a session.
func (r *recording) session() (*il.Session, error) {
	var out []*il.Step
	for _, s := range r.steps {
		parentsFirst(s.calls)
		s.tokens(r)
	}
	for n, s := range r.steps {
		s.lastRows(r.steps[n-1])
		s.logitsFirst()
		step := &il.Step{Number: n}
		for _, c := range s.calls {
			if len(c.Slots) > 0 {
				step.Calls = append(step.Calls, il.NewCall(c.Module, c.Index, c.Dir, c.Slots))
			}
		}
		if len(step.Calls) > 0 {
			out = append(out, step)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: recorded by %s, and holds no tensor of a module: %s (docs/other-dumps.md)", r.dir, r.lacks.Tool, r.hint)
	}
	slices.SortFunc(out, func(a, b *il.Step) int { return a.Number - b.Number })
	r.whole(out)
	slices.Sort(r.lacks.Modules)
	r.lacks.Modules = slices.Compact(r.lacks.Modules)
	s := il.NewSession(r.dir, il.VariantB, out)
	s.Describe(append([]string{r.lacks.String()}, r.warnings...), r.unfinished, &r.lacks)
	return s, nil
}

// whole notes a direction that the dump has of no call, as its user chose.
func (r *recording) whole(steps []*il.Step) {
	var in, out bool
	for _, st := range steps {
		for _, c := range st.Calls {
			for _, s := range c.Slots {
				if slices.Contains(r.lacks.Modules, c.Module) {
					continue
				}
				in, out = in || s.Direction == il.Inputs, out || s.Direction == il.Outputs
			}
		}
	}
	r.lacks.Inputs, r.lacks.Outputs = r.lacks.Inputs || !in, r.lacks.Outputs || !out
}

// tokens gives the modules that take token ids and positions those that the dump
// holds apart, where it does not hold them as arguments.
func (s *openStep) tokens(r *recording) {
	if !slices.ContainsFunc(s.calls, func(c *il.Call) bool { return topology.Of(c.Module).Kind != topology.Logits }) {
		return
	}
	s.give(r, topology.EmbedTokensName, "0", s.ids)
	if r.hf {
		s.give(r, topology.PositionsSource.Module, topology.PositionsSource.Arg, s.positions)
		return
	}
	s.give(r, topology.InLayer(0, ""), "0", s.positions)
}

// give gives a module an argument that it lacks.
func (s *openStep) give(r *recording, module, slot string, files map[string]*il.TensorFile) {
	id := callID{module, 0}
	c := s.at[id]
	if len(files) == 0 || c != nil && c.Slot(il.Inputs, slot) != nil {
		return
	}
	if c == nil {
		c = il.NewCall(module, 0, r.dir, nil)
		s.at[id] = c
		i := slices.IndexFunc(s.calls, func(c *il.Call) bool {
			return topology.Of(c.Module).Kind != topology.Logits && !topology.IsEmbedding(c.Module)
		})
		if i < 0 {
			i = len(s.calls)
		}
		s.calls = slices.Insert(s.calls, i, c)
		r.lacks.Modules = append(r.lacks.Modules, module)
	}
	given := &il.Slot{Direction: il.Inputs, Path: slot}
	for _, d := range sortedKeys(files) {
		given.Tensors = append(given.Tensors, files[d])
	}
	c.Slots = append(c.Slots, given)
}

// logitsFirst puts the logits of the forward before, where they are, before the
// calls of the step's own forward.
func (s *openStep) logitsFirst() {
	slices.SortStableFunc(s.calls, func(a, b *il.Call) int {
		rank := func(c *il.Call) int {
			if topology.Of(c.Module).Kind == topology.Logits {
				return 0
			}
			return 1
		}
		return rank(a) - rank(b)
	})
}

// resultSlot is the slot of a result that a dump holds as one bare tensor. A
// matrix product of vLLM and SGLang returns (y, None), of which no None is left.
func resultSlot(module string, vllm bool) string {
	k := topology.Of(module).Kind
	if vllm && (k.IsLinear() || k == topology.Router) {
		return "0"
	}
	return ""
}

// rankLabel is the device that tensors of a rank are labelled with.
func rankLabel(kind string, rank int) string { return kind + ":" + strconv.Itoa(rank) }

// unreadable is a tensor that must not be opened.
func unreadable(device, path string, err error) *il.TensorFile {
	return il.VirtualTensor(device, path, func() (*tensor.Tensor, io.Closer, error) { return nil, nil, err })
}

// integers is a vector that the dump's own names tell.
func integers(device, what string, v []int, shape ...int) *il.TensorFile {
	return il.VirtualTensor(device, what, func() (*tensor.Tensor, io.Closer, error) {
		return tensor.FromInts(tensor.Int64, v, shape...), io.NopCloser(nil), nil
	})
}

// place is where a file of the dump lies, for messages.
func place(dir string, more ...string) string {
	return filepath.Join(append([]string{dir}, more...)...)
}
