package foreign

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/topology"
)

// dumperKey is where a file of the dumper has its tensor: {"value": …, "meta": …}.
const dumperKey = "value"

// findDumper finds the directories of SGLang's dumper: flat, the files of all ranks
// in one.
func findDumper(dir string, entries []os.DirEntry) []string {
	return selfOrBelow(dir, entries, func(_ string, entries []os.DirEntry) bool {
		return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
			_, ok := parseDumped(e.Name())
			return ok
		})
	})
}

// dumperFile is a file of the dumper.
type dumperFile struct {
	dumped
	file *il.TensorFile
}

// dumperReader reads one directory of the dumper.
type dumperReader struct {
	*recording
	port   bool // it is vLLM's: the logits of a forward lie in the next step
	vllm   bool // its modules have vLLM's names
	shift  int  // from the step of the logits to that of a session
	dummy  int  // values of forwards that ran no request
	custom []string
	apart  int // gradients, parameters
}

// readDumper reads what SGLang's dumper wrote.
func readDumper(dir string) (*il.Session, error) {
	entries, err := list(dir)
	if err != nil {
		return nil, err
	}
	r := &dumperReader{recording: newRecording(dir, il.Lacks{Tool: "SGLang's dumper"}), vllm: true}
	r.hint = "dump again with DUMPER_NON_INTRUSIVE_MODE=all, and a DUMPER_FILTER that lets modules through"
	ranks := r.files(entries)
	r.names(ranks)
	for _, files := range ranks {
		r.rank(files)
	}
	r.say()
	return r.session()
}

// files lists the values of every rank in the order in which they were dumped.
func (r *dumperReader) files(entries []os.DirEntry) [][]dumperFile {
	byRank := map[int][]dumperFile{}
	var odd []string
	open := newShelf()
	for _, e := range entries {
		d, ok := parseDumped(e.Name())
		if !ok {
			odd = append(odd, e.Name())
			continue
		}
		path, device := filepath.Join(r.dir, e.Name()), rankLabel("cuda", d.rank)
		f := open.tensor(device, path, dumperKey, nil)
		if err := check(r.dir, e); err != nil {
			f = unreadable(device, path, err)
		}
		byRank[d.rank] = append(byRank[d.rank], dumperFile{d, f})
	}
	r.warnNames("not a file of the dump, ignored", odd)
	var out [][]dumperFile
	for _, rank := range slices.Sorted(maps.Keys(byRank)) {
		files := byRank[rank]
		slices.SortStableFunc(files, func(a, b dumperFile) int { return cmp.Or(a.step-b.step, a.index-b.index) })
		out = append(out, files)
	}
	return out
}

// names tells whose names the modules have, and whether the logits of a forward
// lie in its own step: SGLang counts at the end of the forward, behind them, and
// vLLM's port, as the IL logger, before them.
func (r *dumperReader) names(ranks [][]dumperFile) {
	first, behind := map[int]bool{}, false // steps in which a module ran already
	for _, files := range ranks {
		clear(first)
		for _, f := range files {
			r.port = r.port || strings.HasPrefix(f.name, batchPrefix)
			name, isHook := strings.CutPrefix(f.name, hookPrefix)
			module, _, _, ok := hooked(name)
			if !isHook || !ok {
				continue
			}
			if topology.ConventionOf(module) == topology.Transformers && topology.LastWord(module) != topology.LMHeadName {
				r.vllm = false
			}
			switch k := topology.Of(module).Kind; {
			case k != topology.Logits:
				first[f.step] = first[f.step] || k != topology.Model && module != ""
			case first[f.step]:
				behind = true
			}
		}
	}
	r.hf = !r.vllm
	if r.port {
		r.lacks.Tool = "vLLM's port of SGLang's dumper"
		return
	}
	if behind || !r.logitsLead(ranks) {
		r.shift = 1
	}
}

// logitsLead reports whether the first thing of a step that ran a forward is
// logits, as where the counter moves before them.
func (r *dumperReader) logitsLead(ranks [][]dumperFile) bool {
	for _, files := range ranks {
		steps := map[int]bool{}
		for _, f := range files {
			module, _, _, ok := hooked(strings.TrimPrefix(f.name, hookPrefix))
			if !ok || module == "" || topology.Of(module).Kind == topology.Model {
				continue
			}
			if logits, seen := steps[f.step]; !seen {
				steps[f.step] = topology.Of(module).Kind == topology.Logits
			} else if logits && topology.Of(module).Kind != topology.Logits {
				return true
			}
		}
	}
	return false
}

// rank takes in the values of one rank, a step after the other.
func (r *dumperReader) rank(files []dumperFile) {
	for len(files) > 0 {
		n := 0
		for n < len(files) && files[n].step == files[0].step {
			n++
		}
		r.forward(files[:n])
		files = files[n:]
	}
}

// forward takes in what a rank dumped in a step.
func (r *dumperReader) forward(files []dumperFile) {
	step := files[0].step
	begin := 0
	if r.port {
		begin = slices.IndexFunc(files, func(f dumperFile) bool { return strings.HasPrefix(f.name, batchPrefix) })
		if begin < 0 {
			begin = len(files)
		}
	}
	calls := callsOf{}
	for i, f := range files {
		name, isHook := strings.CutPrefix(f.name, hookPrefix)
		module, d, slot, ok := hooked(name)
		isLogits := isHook && ok && topology.Of(module).Kind == topology.Logits
		switch {
		case f.again:
			r.apart++
		case i < begin && !(isLogits && step > 0):
			r.dummy++
		case !isHook:
			r.apartFrom(step, f)
		case !ok || module == "":
			if module != "" {
				r.custom = append(r.custom, f.name)
			}
		default:
			to, held := sglangSlot(module, d, slot, r.vllm)
			if held {
				calls.add(module, d, to, f)
			}
		}
	}
	for _, c := range calls.list() {
		at := step
		if topology.Of(c.module).Kind == topology.Logits {
			at += r.shift
		}
		for _, v := range c.values {
			r.add(at, value{device: v.file.Device, id: callID{c.module, c.index}, dir: v.dir, slot: v.slot, file: v.file})
		}
	}
}

// apartFrom takes in a value that no hook saw: the batch, of which token ids and
// positions tell the rows, or what the user's own code dumped.
func (r *dumperReader) apartFrom(step int, f dumperFile) {
	name := strings.TrimPrefix(f.name, batchPrefix)
	s := r.step(step)
	switch {
	case f.layer >= 0 && coreFields[name]: // an argument that lost its module
	case name == "input_ids" && s.ids[f.file.Device] == nil:
		s.ids[f.file.Device] = f.file
	case name == "positions" && s.positions[f.file.Device] == nil:
		s.positions[f.file.Device] = f.file
	case coreFields[name]:
	case strings.HasPrefix(f.name, "grad__"), strings.HasPrefix(f.name, "param__"):
		r.apart++
	default:
		r.custom = append(r.custom, f.name)
	}
}

// say tells what was left out.
func (r *dumperReader) say() {
	if r.dummy > 0 {
		r.warn("%s dumped before the batch of their step, by warm-up or dummy forwards: left out", plural.Count(r.dummy, "value"))
	}
	if r.apart > 0 {
		r.warn("%s, parameters and recomputed forwards: left out", plural.Count(r.apart, "gradient"))
	}
	if len(r.custom) > 0 {
		slices.Sort(r.custom)
		r.custom = slices.Compact(r.custom)
		r.warnNames("values of no module (dumper.dump in the code), left out", r.custom)
	}
}
