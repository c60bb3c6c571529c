package normalize

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// renamed maps a session of transformers onto vLLM's modules, and takes from a
// session of vLLM what transformers does not have. alone counts the tensors
// that left, and rows tells the tokens and positions of the first. all says that
// rows can be lined up, so that all logits are kept.
func renamed(hf, vllm *il.Session, all bool) (h, v, rows *il.Session, alone int) {
	of := of(vllm, hf)
	h, m := underVLLMNames(hf, vllm, of, lastRows)
	rows = withPositions(h)
	v, gone := m.without(vllm)
	if all {
		every, _ := underVLLMNames(hf, vllm, of, flat)
		_, errH := layoutOf(every, rows)
		_, errV := layoutOf(v, vllm)
		if errH == nil && errV == nil {
			h = every
		}
	}
	return h, v, rows, m.alone + gone
}

// underVLLMNames maps a session of transformers onto vLLM's modules, those of an
// architecture where it is known. logits chooses the rows of its logits: all that
// there are (flat), or those that an engine computes (lastRows). Calls that vllm leaves out
// in a step are left out; nil has all.
func underVLLMNames(hf, vllm *il.Session, of *topology.Architecture, logits change) (*il.Session, *hfMapper) {
	layers := 0
	for _, st := range hf.Steps {
		for _, c := range st.Calls {
			layers = max(layers, topology.Locate(c.Module).Layer+1)
		}
	}
	if of == nil {
		of = hf.ModelArchitecture(topology.Era2025)
	}
	m := &hfMapper{session: hf, vllm: vllm, table: topology.TransformersTable(hf.Modules(), layers, of), steps: stepSet{}, logits: logits, headDim: headDimOf(hf)}
	for _, st := range hf.Steps {
		m.step(st)
	}
	out := derive(hf, m.steps.list())
	out.LogitsMoved()
	return out, m
}

type hfMapper struct {
	session   *il.Session
	vllm      *il.Session // that it is compared with; nil for none
	table     *topology.Table
	steps     stepSet
	logits    change // of the logits
	headDim   int    // of heads that are rotated and then normalised; 0 where that is not recorded
	positions bool   // recorded
	alone     int
}

// change makes of a tensor of transformers what vLLM's is.
type change = func(*tensor.Tensor) (*tensor.Tensor, error)

// step maps the calls of one forward.
func (m *hfMapper) step(st *il.Step) {
	used := map[topology.Source]bool{}
	m.steps.at(st.Number)
	m.add(st, st.Number, m.table.Mappings, used, flat)
	m.add(st, st.Number+1, m.table.Logits(), used, m.logits)
	for _, c := range st.Calls {
		var rest []*il.Slot
		for _, s := range c.Slots {
			switch {
			case used[keyOf(c, s)]:
			case m.table.Alone(c.Module, s.Direction == il.Outputs, s.Path):
				m.alone++
			default:
				rest = append(rest, m.slot(s.Direction, s.Path, []*il.Slot{s}, flat))
			}
		}
		if len(rest) > 0 {
			m.steps.add(st.Number, withSlots(c, rest))
		}
	}
}

// add makes the calls of a table whose tensors are recorded, in the table's
// order.
func (m *hfMapper) add(st *il.Step, number int, table []topology.Mapping, used map[topology.Source]bool, to change) {
	type id struct {
		module string
		index  int
	}
	calls := map[id]*il.Call{}
	for _, e := range table {
		sources := m.sources(st.Number, e.Sources)
		if sources == nil || m.table.Halved(e) && m.headDim == 0 {
			continue
		}
		for _, s := range e.Sources {
			for _, x := range m.table.Same(s) {
				used[x] = true
			}
			m.positions = m.positions || s == topology.PositionsSource
		}
		if m.leftOut(number, e.Module) {
			m.alone++
			continue
		}
		key := id{e.Module, e.Index}
		c := calls[key]
		if c == nil {
			c = &il.Call{Module: e.Module, Index: e.Index, Dir: filepath.Join(m.session.Dir, stepName(st.Number))}
			calls[key] = c
			m.steps.add(number, c)
		}
		c.Slots = append(c.Slots, m.slot(directionOf(e.Output), e.Slot, sources, m.changes(e, to)...))
	}
}

// leftOut reports whether the other session does not call a module in a step, as vLLM leaves
// out some.
func (m *hfMapper) leftOut(step int, module string) bool {
	return m.vllm != nil && m.table.Sometimes(module) && m.vllm.Call(step, module, 0) == nil
}

// sources finds the slots of a table's entry, nil where one is not recorded.
func (m *hfMapper) sources(step int, from []topology.Source) []*il.Slot {
	var out []*il.Slot
	for _, f := range from {
		for _, x := range m.table.Same(f) {
			if s := m.find(step, x); s != nil {
				out = append(out, s)
				break
			}
		}
	}
	if len(out) < len(from) {
		return nil
	}
	return out
}

func directionOf(output bool) il.Direction {
	if output {
		return il.Outputs
	}
	return il.Inputs
}

func (m *hfMapper) find(step int, f topology.Source) *il.Slot {
	c := m.session.Call(step, f.Module, 0)
	if c == nil {
		return nil
	}
	for _, s := range c.Slots {
		if keyOf(c, s) == f {
			return s
		}
	}
	return nil
}

// keyOf names a slot as the table does: a module's first or only result is its
// output, and positions are one argument, however they were given.
func keyOf(c *il.Call, s *il.Slot) topology.Source {
	if isPositions(c, s) {
		return topology.PositionsSource
	}
	if s.Direction == il.Outputs && (s.Path == "" || s.Path == "0") {
		return topology.Source{Module: c.Module, Output: true}
	}
	return topology.Source{Module: c.Module, Output: s.Direction != il.Inputs, Arg: s.Path}
}

// isPositions recognises the positions that transformers' rotary embedding is given.
func isPositions(c *il.Call, s *il.Slot) bool {
	return c.Module == topology.PositionsSource.Module && s.Direction == il.Inputs && (s.Path == topology.PositionsSource.Arg || s.Path == topology.PositionsKeyword)
}

// changes are what the sources of a table's entry are to become.
func (m *hfMapper) changes(e topology.Mapping, to change) []change {
	plain := as(m.table, e, to)
	list := make([]change, len(e.Sources))
	for i := range list {
		list[i] = plain
		if m.table.Halved(e) && i < len(list)-1 {
			list[i] = func(t *tensor.Tensor) (*tensor.Tensor, error) {
				t, err := plain(t)
				if err != nil {
					return nil, err
				}
				return halved(t, m.headDim)
			}
		}
	}
	return list
}

// slot is the slot that the sources make, each changed and all joined along
// the last dimension.
func (m *hfMapper) slot(d il.Direction, path string, sources []*il.Slot, to ...change) *il.Slot {
	out := &il.Slot{Direction: d, Path: path}
	var files []*il.TensorFile
	for _, s := range sources {
		if s.Stub != nil || len(s.Tensors) == 0 {
			out.Stub = s.Stub
			return out
		}
		files = append(files, s.Tensors[0])
	}
	open := func() (*tensor.Tensor, io.Closer, error) { return openEach(files, to) }
	out.Tensors = []*il.TensorFile{il.VirtualTensor(files[0].Device, files[0].File, open)}
	return out
}

func openJoined(files []*il.TensorFile, to change) (*tensor.Tensor, io.Closer, error) {
	return openEach(files, slices.Repeat([]change{to}, len(files)))
}

// openEach opens the sources of a slot, each changed in its own way.
func openEach(files []*il.TensorFile, to []change) (*tensor.Tensor, io.Closer, error) {
	changed := func(ts []*tensor.Tensor) error {
		for i := range ts {
			t, err := to[i](ts[i])
			if err != nil {
				return fmt.Errorf("%s: %w", files[i].File, err)
			}
			ts[i] = t
		}
		return nil
	}
	if len(files) > 1 {
		return copied(files, func(ts []*tensor.Tensor) (*tensor.Tensor, error) {
			if err := changed(ts); err != nil {
				return nil, err
			}
			pieces := make([]piece, len(ts))
			for i, t := range ts {
				pieces[i] = piece{i, 0, t.Shape[len(t.Shape)-1]}
			}
			return join(ts, len(ts[0].Shape)-1, pieces)
		})
	}
	ts, cs, err := openAll(files)
	if err != nil {
		return nil, nil, err
	}
	if err := guarded(files, func() error { return changed(ts) }); err != nil {
		cs.Close()
		return nil, nil, err
	}
	return ts[0], cs, nil
}

// without takes from a session of vLLM the tensors that transformers does not
// have, and its inputs after the forward, which differ in place.
func (m *hfMapper) without(s *il.Session) (*il.Session, int) {
	type id struct {
		module string
		index  int
		dir    il.Direction
		path   string
	}
	none := map[id]bool{}
	for _, e := range slices.Concat(m.table.Mappings, m.table.Logits()) {
		none[id{e.Module, e.Index, directionOf(e.Output), e.Slot}] = len(e.Sources) == 0 || m.table.Halved(e) && m.headDim == 0 || e.Sources[0] == topology.PositionsSource && !m.positions
	}
	gone := 0
	steps := stepSet{}
	for _, st := range s.Steps {
		steps.at(st.Number)
		for _, c := range st.Calls {
			var slots []*il.Slot
			for _, slot := range c.Slots {
				if slot.Direction == il.PostFwdInputs || m.table.NoRope && topology.Of(c.Module).Kind == topology.Rope || none[id{c.Module, c.Index, slot.Direction, slot.Path}] {
					gone++
					continue
				}
				slots = append(slots, slot)
			}
			if len(slots) > 0 || len(c.Slots) == 0 {
				steps.add(st.Number, withSlots(c, slots))
			}
		}
	}
	return derive(s, steps.list()), gone
}
