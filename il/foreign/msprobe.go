package foreign

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/topology"
)

const (
	probeFile = "dump.json"
	probeData = "dump_tensor_data"
)

// probeDir is the directory of one rank in one step.
type probeDir struct {
	path string
	step int
	rank int
	proc bool // named by a process: its rank is not known
}

func isProbeDir(entries []os.DirEntry) bool {
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return e.Name() == probeFile && !e.IsDir() || e.Name() == probeData && e.IsDir()
	})
}

// parseProbeRank parses "rank3", "rank" of a run of one process, and "proc123".
func parseProbeRank(name string) (p probeDir, ok bool) {
	if name == "rank" {
		return p, true
	}
	if p.rank, ok = numbered(name, "rank"); ok {
		return p, true
	}
	p.rank, p.proc = numbered(name, "proc")
	return p, p.proc
}

// probeDirs lists the directories of ranks in dir: dir is that of a dump, of a step
// or of a rank.
func probeDirs(dir string, entries []os.DirEntry) []probeDir {
	step, _ := numbered(filepath.Base(dir), "step")
	if isProbeDir(entries) {
		p, _ := parseProbeRank(filepath.Base(dir))
		p.path = dir
		return []probeDir{p}
	}
	if ranks := probeRanks(dir, step, entries); len(ranks) > 0 {
		return ranks
	}
	var out []probeDir
	for _, name := range dirs(entries, func(n string) bool { _, ok := numbered(n, "step"); return ok }) {
		below := filepath.Join(dir, name)
		step, _ := numbered(name, "step")
		if in, err := list(below); err == nil {
			out = append(out, probeRanks(below, step, in)...)
		}
	}
	return out
}

func probeRanks(dir string, step int, entries []os.DirEntry) []probeDir {
	var out []probeDir
	for _, name := range dirs(entries, func(n string) bool { _, ok := parseProbeRank(n); return ok }) {
		below := filepath.Join(dir, name)
		if in, err := list(below); err == nil && isProbeDir(in) {
			p, _ := parseProbeRank(name)
			p.path, p.step = below, step
			out = append(out, p)
		}
	}
	return out
}

func findMsprobe(dir string, entries []os.DirEntry) []string {
	if len(probeDirs(dir, entries)) > 0 {
		return []string{dir}
	}
	var out []string
	for _, e := range entries {
		below := filepath.Join(dir, e.Name())
		if in, err := list(below); e.IsDir() && err == nil && len(probeDirs(below, in)) > 0 {
			out = append(out, below)
		}
	}
	return out
}

// probeReader reads all ranks and steps of a dump of msprobe.
type probeReader struct {
	*recording
	apis     int // calls of functions, which levels L1 and mix record
	backward int
	stubs    int
	odd      []string
	steps    []probedStep
}

// probedStep is what a rank recorded in a step.
type probedStep struct {
	probeDir
	*probed
	device string
}

// readMsprobe reads what msprobe's PrecisionDebugger dumps of modules.
func readMsprobe(dir string) (*il.Session, error) {
	entries, err := list(dir)
	if err != nil {
		return nil, err
	}
	r := &probeReader{recording: newRecording(dir, il.Lacks{Tool: "msprobe"})}
	r.hint = "dump again with level L0 or mix, in eager mode"
	found := probeDirs(dir, entries)
	r.numberProcesses(found)
	for _, p := range found {
		if err := r.open(p); err != nil {
			return nil, err
		}
	}
	shift := r.logitsShift()
	for _, s := range r.steps {
		if err := r.take(s, shift); err != nil {
			return nil, err
		}
	}
	r.say()
	return r.session()
}

// numberProcesses gives processes whose ranks are not known the ranks of their
// order.
func (r *probeReader) numberProcesses(found []probeDir) {
	var pids []int
	for _, p := range found {
		if p.proc {
			pids = append(pids, p.rank)
		}
	}
	slices.Sort(pids)
	pids = slices.Compact(pids)
	for i := range found {
		if found[i].proc {
			found[i].rank = slices.Index(pids, found[i].rank)
		}
	}
	if len(pids) > 1 {
		r.warn("%s name processes and no ranks: taken as the ranks 0 to %d in the order of their numbers", r.dir, len(pids)-1)
	}
	slices.SortStableFunc(found, func(a, b probeDir) int { return cmp.Or(a.step-b.step, a.rank-b.rank) })
}

// open reads the dump.json of a rank.
func (r *probeReader) open(p probeDir) error {
	path := filepath.Join(p.path, probeFile)
	const killed = "msprobe writes it when the debugger stops; the run was killed, or is still going: end it with debugger.stop(), or dump again"
	data, err := readSmall(path, maxDumpJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has %s and no %s: %s", p.path, probeData, probeFile, killed)
	}
	if err != nil {
		return err
	}
	d, err := parseProbed(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if d.framework != "" && d.framework != "pytorch" {
		return fmt.Errorf("%s is a dump of %s, expected one of pytorch, whose tensors are .pt files", path, printable(d.framework))
	}
	if files, err := list(filepath.Join(p.path, probeData)); err == nil {
		missing := len(files) - d.saved
		switch {
		case len(d.entries) == 0 && len(files) > 0:
			return fmt.Errorf("%s names no call, and %s has %s: %s", path, probeData, plural.Count(len(files), "tensor"), killed)
		case missing > 0 && r.unfinished == "":
			r.unfinished = fmt.Sprintf("%s does not name %d of the %d files of %s: the run was killed before the debugger stopped", path, missing, len(files), probeData)
		}
	}
	r.steps = append(r.steps, probedStep{p, d, rankLabel("npu", p.rank)})
	return nil
}

// walk calls f with the tensors in a value, and the slot of each below slot.
func (v probedValue) walk(slot string, f func(v probedValue, slot string)) {
	below := func(key string) string {
		if slot == "" {
			return key
		}
		return slot + "_" + key
	}
	for i, x := range v.list {
		x.walk(below(strconv.Itoa(i)), f)
	}
	for _, m := range v.dict {
		m.walk(below(m.key), f)
	}
	if v.tensor != nil {
		f(v, slot)
	}
}

// probedModule parts "Module.model.norm.RMSNorm.forward.0" into the module and the
// call; ok is false for a call of a function, and for the model as a whole.
func probedModule(name string) (module string, call int, ok bool) {
	w := strings.Split(name, ".")
	n := len(w)
	if n < 5 || w[0] != "Module" || w[n-2] != "forward" {
		return "", 0, false
	}
	call, ok = number(w[n-1])
	if w = w[1 : n-3]; len(w) > 1 && w[0] == "module" { // of DistributedDataParallel
		w = w[1:]
	}
	module = strings.Join(w, ".")
	return module, call, ok && isModule(module)
}

// logitsShift is from the step of the logits to that of a session: they lie in the
// step of their forward, unless one begins with them.
func (r *probeReader) logitsShift() int {
	for _, s := range r.steps {
		first := true
		for _, e := range s.entries {
			module, _, ok := probedModule(e.name)
			if !ok || topology.Of(module).Kind == topology.Model {
				continue
			}
			switch isLogits := topology.Of(module).Kind == topology.Logits; {
			case isLogits && !first:
				return 1
			case !first:
				return 0
			case !isLogits:
				return 1
			}
			first = false
		}
	}
	return 1
}

// take takes in the calls of a rank in a step.
func (r *probeReader) take(s probedStep, shift int) error {
	calls := map[string]int{} // the lowest number of a module's calls
	for _, e := range s.entries {
		if module, call, ok := probedModule(e.name); ok {
			if n, seen := calls[module]; !seen || call < n {
				calls[module] = call
			}
		}
	}
	for _, e := range s.entries {
		module, call, ok := probedModule(e.name)
		switch {
		case strings.Contains(e.name, ".backward."):
			r.backward++
			continue
		case !ok:
			r.apis++
			continue
		}
		m := topology.Of(module)
		if m.Kind == topology.Model {
			continue // vLLM's fires no hook
		}
		if !m.Shared { // a filter may have left out some calls of one that is
			call -= calls[module]
		}
		at := s.step
		if m.Kind == topology.Logits {
			at += shift
		}
		r.call(at, s, e, callID{module, call})
	}
	return nil
}

// call takes in one call.
func (r *probeReader) call(step int, s probedStep, e probedCall, id callID) {
	add := func(d il.Direction) func(v probedValue, slot string) {
		return func(v probedValue, slot string) {
			slot, held := sglangProbed(id.module, d, slot)
			switch {
			case !held:
			case !isSlot(slot):
				r.odd = append(r.odd, slot)
			default:
				r.add(step, r.value(s, v.tensor, id, d, slot))
			}
		}
	}
	for i, v := range withoutBatch(e.args) {
		v.walk(strconv.Itoa(i), add(il.Inputs))
	}
	for _, m := range e.kwargs {
		if !isBatch(m.probedValue) {
			m.walk(m.key, add(il.Inputs))
		}
	}
	if len(e.output) == 1 { // a bare result is a list of one
		e.output[0].walk(resultSlot(id.module, true), add(il.Outputs))
		return
	}
	for i, v := range e.output {
		v.walk(strconv.Itoa(i), add(il.Outputs))
	}
}

// sglangProbed leaves out what vLLM has no slot for, and finds the logits among the
// members of SGLang's result.
func sglangProbed(module string, d il.Direction, slot string) (string, bool) {
	if topology.Of(module).Kind != topology.Logits {
		return slot, true
	}
	if d == il.Outputs {
		return "", slot == "" || slot == logitsMember
	}
	return slot, slot != "0"
}

// withoutBatch are arguments without SGLang's ForwardBatch, which vLLM's modules
// are not given: msprobe takes it apart into a dict.
func withoutBatch(args []probedValue) []probedValue {
	return slices.DeleteFunc(slices.Clone(args), isBatch)
}

// isBatch reports whether a value is a ForwardBatch.
func isBatch(v probedValue) bool {
	n := 0
	for _, m := range v.dict {
		if slices.Contains([]string{"forward_mode", "req_pool_indices", "seq_lens", "out_cache_loc", "input_ids"}, m.key) {
			n++
		}
	}
	return n >= 2
}

// value finds the file of a tensor.
func (r *probeReader) value(s probedStep, t *probedTensor, id callID, d il.Direction, slot string) value {
	v := value{device: s.device, id: id, dir: d, slot: slot}
	dir := filepath.Join(s.path, probeData)
	path := filepath.Join(dir, t.file)
	switch {
	case t.file == "":
		r.stubs++
		v.stub = t.stub()
	case filepath.Base(t.file) != t.file || !isModule(t.file) || !strings.HasSuffix(t.file, ".pt"):
		list := filepath.Join(s.path, probeFile)
		v.file = unreadable(s.device, list, fmt.Errorf("%s: data_name %q of %s is not the name of a .pt file in %s", list, t.file, id.module, probeData))
	default:
		info, err := os.Lstat(path)
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a regular file", path)
		}
		if v.file = (&il.TensorFile{Device: s.device, File: path}); err != nil {
			v.file = unreadable(s.device, path, err)
		}
	}
	return v
}

// say tells what was left out.
func (r *probeReader) say() {
	if r.apis > 0 {
		r.warn("%s of functions and of the whole model (level L1 or mix): left out, modules are compared", plural.Count(r.apis, "call"))
	}
	if r.backward > 0 {
		r.warn("%s of the backward pass: left out", plural.Count(r.backward, "call"))
	}
	if r.stubs > 0 {
		r.warn("%s recorded by statistics alone (task statistics): they cannot be compared; record with task tensor", plural.Count(r.stubs, "tensor"))
	}
	r.warnNames("cannot be the names of arguments, left out", r.odd)
}
