package foreign

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// maxNeuronMeta bounds the file that says which requests a forward ran.
const maxNeuronMeta = 64 << 20

// neuronForward is the directory of one forward: "prefill_s128_0", "decode_b4_2".
// Prefills and decodes are counted apart.
type neuronForward struct {
	path   string
	decode bool
	n      int

	requests  []string
	positions []int
}

// parseNeuronForward parses the name of a forward's directory.
func parseNeuronForward(name string) (f neuronForward, ok bool) {
	w := strings.Split(name, "_")
	if len(w) != 3 {
		return f, false
	}
	prefix := "s"
	switch w[0] {
	case "prefill":
	case "decode":
		prefix, f.decode = "b", true
	default:
		return f, false
	}
	_, ok = numbered(w[1], prefix)
	n, isNumber := number(w[2])
	f.n = n
	return f, ok && isNumber
}

func neuronForwards(entries []os.DirEntry) []string {
	return dirs(entries, func(n string) bool { _, ok := parseNeuronForward(n); return ok })
}

// findNeuron finds the directories of data-parallel replicas, each a run of its
// own.
func findNeuron(dir string, entries []os.DirEntry) []string {
	return selfOrBelow(dir, entries, func(_ string, entries []os.DirEntry) bool { return len(neuronForwards(entries)) > 0 })
}

// neuronReader reads the forwards of one replica.
type neuronReader struct {
	*recording
	open *shelf
	odd  []string
}

// readNeuron reads vllm-neuron's folders: a directory for each forward, in it one
// for each module with the first result on each rank.
func readNeuron(dir string) (*il.Session, error) {
	entries, err := list(dir)
	if err != nil {
		return nil, err
	}
	r := &neuronReader{newRecording(dir, il.Lacks{Tool: "vllm-neuron", Inputs: true, Later: true, Ropes: true}), newShelf(), nil}
	r.hint = "capture again"
	var forwards []*neuronForward
	for _, name := range neuronForwards(entries) {
		f, _ := parseNeuronForward(name)
		f.path = filepath.Join(dir, name)
		if err := f.meta(dir, name); err != nil {
			return nil, err
		}
		forwards = append(forwards, &f)
	}
	ordered, sure := inOrder(forwards)
	if !sure {
		r.warn("%s: its prefills and decodes are counted apart, and positions do not tell the order of all: the rest come as they are counted, prefills first", dir)
	}
	for step, f := range ordered {
		if err := r.forward(step, f); err != nil {
			return nil, err
		}
	}
	r.warnNames("not of the dump, ignored", r.odd)
	return r.session()
}

// neuronMeta is what the file beside the tensors says.
type neuronMeta struct {
	Requests  []any `json:"req_ids"`
	Positions []any `json:"positions"`
}

// meta reads which rows a forward ran; nothing where there is no such file.
func (f *neuronForward) meta(dir, name string) error {
	path := filepath.Join(f.path, name+"_meta.json")
	data, err := readSmall(path, maxNeuronMeta)
	if errors.Is(err, fs.ErrNotExist) {
		path = filepath.Join(dir, name+"_meta.json")
		data, err = readSmall(path, maxNeuronMeta)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var m neuronMeta
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, r := range m.Requests {
		f.requests = append(f.requests, fmt.Sprint(r))
	}
	bad := false
	for _, p := range m.Positions {
		switch p := p.(type) {
		case float64:
			f.positions = append(f.positions, int(p))
		case []any:
			for _, x := range p {
				n, ok := x.(float64)
				bad = bad || !ok
				f.positions = append(f.positions, int(n))
			}
		default:
			bad = true
		}
	}
	if bad {
		return fmt.Errorf("%s: positions are not numbers, or lists of numbers", path)
	}
	for n := len(f.positions); n > 0 && f.positions[n-1] < 0; n-- { // padding
		f.positions = f.positions[:n-1]
	}
	return nil
}

// runs are the first and the last position of each of the forward's requests:
// positions are one a request, or those of one request after the other.
func (f *neuronForward) runs() map[string][2]int {
	out := map[string][2]int{}
	start := 0
	for i, end := range requestEnds(f.positions) {
		if i < len(f.requests) {
			out[f.requests[i]] = [2]int{f.positions[start], f.positions[end]}
		}
		start = end + 1
	}
	if len(f.positions) == len(f.requests) {
		for i, q := range f.requests {
			out[q] = [2]int{f.positions[i], f.positions[i]}
		}
	}
	return out
}

// inOrder merges prefills and decodes, by the positions that each request has
// reached. sure is false where these do not tell.
func inOrder(forwards []*neuronForward) (out []*neuronForward, sure bool) {
	var queues [2][]*neuronForward
	for _, f := range forwards {
		k := 0
		if f.decode {
			k = 1
		}
		queues[k] = append(queues[k], f)
	}
	for k := range queues {
		slices.SortStableFunc(queues[k], func(a, b *neuronForward) int { return a.n - b.n })
	}
	reached := map[string]int{}
	ready := func(f *neuronForward) bool {
		for q, run := range f.runs() {
			if reached[q] != run[0] {
				return false
			}
		}
		return len(f.requests) > 0
	}
	sure = true
	for len(queues[0])+len(queues[1]) > 0 {
		k := 0
		switch {
		case len(queues[0]) == 0:
			k = 1
		case len(queues[1]) > 0 && ready(queues[1][0]):
			k = 1
		case !ready(queues[0][0]) && len(queues[1]) > 0:
			sure = false
		}
		f := queues[k][0]
		queues[k] = queues[k][1:]
		out = append(out, f)
		for q, run := range f.runs() {
			reached[q] = run[1] + 1
		}
	}
	return out, sure
}

// forward takes in the modules of a forward, in the order in which a decoder calls
// them: directories have none.
func (r *neuronReader) forward(step int, f *neuronForward) error {
	entries, err := list(f.path)
	if err != nil {
		return err
	}
	var modules []string
	for _, e := range entries {
		switch {
		case e.IsDir() && isModule(e.Name()) && !unheld(e.Name()):
			modules = append(modules, e.Name())
		case strings.HasSuffix(e.Name(), "_meta.json"), e.IsDir():
		default:
			r.odd = append(r.odd, filepath.Join(filepath.Base(f.path), e.Name()))
		}
	}
	slices.SortStableFunc(modules, topology.ByExecution)
	r.hf = r.hf || transformersNames(modules)
	devices := map[string]bool{}
	for _, m := range modules {
		dir := filepath.Join(f.path, m)
		files, err := list(dir)
		if err != nil {
			return err
		}
		at := step
		if topology.Of(m).Kind == topology.Logits { // a head of transformers stays
			at++
		}
		for _, e := range files {
			base, _ := strings.CutSuffix(e.Name(), ".pt")
			rank, ok := numbered(base, "rank")
			if !ok || !strings.HasSuffix(e.Name(), ".pt") {
				r.odd = append(r.odd, filepath.Join(filepath.Base(f.path), m, e.Name()))
				continue
			}
			device := rankLabel("xla", rank)
			devices[device] = true
			r.add(at, value{device: device, id: callID{m, 0}, dir: il.Outputs, slot: resultSlot(m, false), file: r.file(f, dir, e, device)})
		}
	}
	if n := len(f.positions); n > 0 {
		shape := []int{n}
		if r.hf {
			shape = []int{1, n}
		}
		for d := range devices {
			r.step(step).positions[d] = integers(d, f.path+" (positions)", f.positions, shape...)
		}
	}
	return nil
}

// unheld reports whether a module has no place in a session, or what the dump has of
// it is of its last call alone: that of the rotary embedding that layers share.
func unheld(module string) bool {
	m := topology.Of(module)
	return m.Kind == topology.Model || m.Kind == topology.Rope
}

// file is a tensor without the rows that pad it to its bucket.
func (r *neuronReader) file(f *neuronForward, dir string, e fs.DirEntry, device string) *il.TensorFile {
	path := filepath.Join(dir, e.Name())
	if err := check(dir, e); err != nil {
		return unreadable(device, path, err)
	}
	rows, hf := len(f.positions), r.hf
	return r.open.tensor(device, path, "", func(t *tensor.Tensor) (*tensor.Tensor, error) { return withoutPadding(t, rows, hf), nil })
}

// withoutPadding leaves the first rows of a tensor; all where their number is not
// known, or the tensor has fewer. Of the dimensions of requests and positions, of
// which one is 1, transformers' modules keep both and vLLM's have one.
func withoutPadding(t *tensor.Tensor, rows int, hf bool) *tensor.Tensor {
	dim := 0
	if len(t.Shape) >= 3 && t.Shape[0] == 1 {
		dim = 1
	}
	if rows > 0 && len(t.Shape) > 1 && t.Shape[dim] > rows {
		t = t.Narrow(dim, 0, rows)
	}
	if hf || len(t.Shape) != 3 || t.Shape[0] != 1 && t.Shape[1] != 1 {
		return t
	}
	v := *t
	if dim == 1 {
		v.Shape, v.Stride = slices.Clone(t.Shape[1:]), slices.Clone(t.Stride[1:])
	} else {
		v.Shape, v.Stride = []int{t.Shape[0], t.Shape[2]}, []int{t.Stride[0], t.Stride[2]}
	}
	return &v
}

// transformersNames reports whether modules have the names of transformers.
func transformersNames(modules []string) bool {
	hf := false
	for _, m := range modules {
		switch topology.ConventionOf(m) {
		case topology.VLLM:
			return false
		case topology.Transformers:
			hf = hf || topology.LastWord(m) != topology.LMHeadName
		}
	}
	return hf
}
