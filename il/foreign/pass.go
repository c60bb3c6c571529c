package foreign

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/topology"
)

// batchInfo stands between the name of the top module and what it was given of the
// batch (sglang, debug_utils/tensor_dump_forward_hook.py: TensorDumper).
const batchInfo = ".forward_batch_info."

// findPass finds the directories that hold a directory for each rank.
func findPass(dir string, entries []os.DirEntry) []string {
	return selfOrBelow(dir, entries, func(name string, entries []os.DirEntry) bool {
		_, isRank := parsePassRank(name)
		return len(passRanks(entries)) > 0 || isRank && len(passFiles(entries)) > 0
	})
}

// passRank is what the name of a rank's directory says.
type passRank struct {
	name            string
	tp, pp, rank, n int // n is the process
}

// parsePassRank parses "TP0_PP0_Rank0_pid123".
func parsePassRank(name string) (p passRank, ok bool) {
	p.name = name
	w := strings.Split(name, "_")
	if len(w) != 4 {
		return p, false
	}
	for i, x := range []struct {
		prefix string
		to     *int
	}{{"TP", &p.tp}, {"PP", &p.pp}, {"Rank", &p.rank}, {"pid", &p.n}} {
		if *x.to, ok = numbered(w[i], x.prefix); !ok {
			return p, false
		}
	}
	return p, true
}

func passRanks(entries []os.DirEntry) []passRank {
	var out []passRank
	for _, e := range entries {
		if p, ok := parsePassRank(e.Name()); ok && e.IsDir() {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b passRank) int { return a.rank - b.rank })
	return out
}

// passFiles are the files of forwards, by number.
func passFiles(entries []os.DirEntry) map[int]os.DirEntry {
	out := map[int]os.DirEntry{}
	for _, e := range entries {
		if base, ok := strings.CutSuffix(e.Name(), ".pt"); ok {
			if n, ok := numbered(base, "Pass"); ok {
				out[n] = e
			}
		}
	}
	return out
}

// readPass reads what SGLang's --debug-tensor-dump-output-folder makes: a file for
// each forward, of the results of modules without modules in them.
func readPass(dir string) (*il.Session, error) {
	entries, err := list(dir)
	if err != nil {
		return nil, err
	}
	r := &passReader{
		recording: newRecording(dir, il.Lacks{Tool: "SGLang's tensor dump (PassNNNNN.pt)", Inputs: true, Blocks: true, Ropes: true, Logits: true}),
		open:      newShelf(),
	}
	r.hint = "dump again with --disable-cuda-graph, of a model whose modules are called and not their forward"
	ranks := passRanks(entries)
	if p, ok := parsePassRank(filepath.Base(dir)); ok && len(ranks) == 0 {
		p.name = ""
		ranks = []passRank{p}
	}
	for i, p := range ranks {
		if i > 0 && ranks[i-1].rank == p.rank {
			return nil, fmt.Errorf("%s holds two runs, as %s and %s are both of rank %d: move those of one run to a directory of their own", dir, ranks[i-1].name, p.name, p.rank)
		}
		if err := r.rank(p); err != nil {
			return nil, err
		}
	}
	if r.ropes > 0 {
		r.warn("%s of rotary embeddings, which hold the last layer's result alone (every call writes over the one before): left out", plural.Count(r.ropes, "result"))
	}
	r.warnNames("cannot be the names of modules, left out", r.odd)
	return r.session()
}

// passReader reads the forwards of all ranks.
type passReader struct {
	*recording
	open  *shelf
	ropes int
	odd   []string
}

func (r *passReader) rank(p passRank) error {
	dir := place(r.dir, p.name)
	entries, err := list(dir)
	if err != nil {
		return err
	}
	files := passFiles(entries)
	read := 0
	for _, n := range sortedInts(files) {
		err := check(dir, files[n])
		if err == nil {
			err = r.pass(n, filepath.Join(dir, files[n].Name()), rankLabel("cuda", p.rank))
		}
		if err == nil {
			read++
			continue
		}
		r.warn("%v: its forward is missing", err)
		if r.unfinished == "" {
			r.unfinished = fmt.Sprintf("a forward cannot be read: %v", err)
		}
	}
	if read == 0 && len(files) > 0 {
		return fmt.Errorf("%s: none of its %s can be read: %s", dir, plural.Count(len(files), "forward"), r.warnings[len(r.warnings)-1])
	}
	return nil
}

// pass takes in the file of forward n. It was written before the results of the
// top module and of what runs behind it were known: those in it are of forward
// n-1, as a session has them.
func (r *passReader) pass(n int, path, device string) error {
	f, err := pt.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	top := "model"
	for _, t := range f.Tensors() {
		if before, _, ok := strings.Cut(t.Keys[len(t.Keys)-1], batchInfo); ok && len(t.Keys) == 1 {
			top = before
		}
	}
	s := r.step(n)
	seen := map[string]bool{}
	for _, t := range f.Tensors() {
		if len(t.Keys) == 0 || len(t.Keys) > 2 {
			return fmt.Errorf("%s: holds a tensor at %q, expected a dict of tensors and lists of tensors by the names of modules", path, printable(t.Path))
		}
		key := t.Keys[0]
		file := r.open.tensor(device, path, strings.Join(t.Keys, "/"), nil)
		info, isBatch := strings.CutPrefix(key, top+batchInfo)
		kind := topology.Of(key).Kind
		switch {
		case isBatch && info == "input_ids":
			s.ids[device] = file
		case isBatch && info == "positions":
			s.positions[device] = file
		case isBatch, key == top, strings.Contains(key, ".pp_proxy_tensors."):
		case kind == topology.Rope:
			if !seen[key] {
				r.ropes++
			}
		case !isModule(key):
			r.odd = append(r.odd, key)
		default:
			slot := resultSlot(key, true)
			if len(t.Keys) == 2 {
				slot = t.Keys[1]
			}
			if kind == topology.Logits {
				slot = ""
			}
			r.add(n, value{device: device, id: callID{key, 0}, dir: il.Outputs, slot: slot, file: file})
		}
		seen[key] = true
	}
	return nil
}
