package foreign

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Names in the files of vLLM's ExampleHiddenStatesConnector (vllm/distributed/
// kv_transfer/kv_connector/v1/example_hidden_states_connector.py).
const (
	hiddenStates = "hidden_states" // [tokens, ids, hidden size]
	hiddenTokens = "token_ids"
)

// layerIDsFile tells which layers the hidden states enter: the files do not.
const layerIDsFile = "layer_ids.json"

const maxLayerIDs = 1 << 20

// findHidden finds directories with a file of hidden states for each request.
func findHidden(dir string, entries []os.DirEntry) []string {
	return selfOrBelowAt(dir, entries, func(at string, entries []os.DirEntry) bool {
		for _, e := range entries {
			if e.Type().IsRegular() && strings.HasSuffix(e.Name(), ".safetensors") {
				return holdsHidden(filepath.Join(at, e.Name()))
			}
		}
		return false
	})
}

// holdsHidden reports whether a file has the tensors of the connector, and not
// weights, by the first of its kind in the directory.
func holdsHidden(path string) bool {
	c, err := newShelf().open(path)
	if err != nil {
		return false
	}
	defer c.file.Close()
	return c.tensors[hiddenStates] != nil && c.tensors[hiddenTokens] != nil
}

// readHidden reads the hidden states that vLLM extracts for draft models: what
// enters each of some layers, for the tokens of each request.
func readHidden(dir string) (*il.Session, error) {
	entries, err := list(dir)
	if err != nil {
		return nil, err
	}
	slots, err := layerIDs(dir)
	if err != nil {
		return nil, err
	}
	r := newRecording(dir, il.Lacks{Tool: "vLLM's extract_hidden_states", Others: true, Steps: true})
	r.hint = "extract again"
	open := newShelf()
	var odd []string
	step, bad, first := 0, 0, ""
	for _, e := range entries {
		name := e.Name()
		switch {
		case strings.HasSuffix(name, ".lock"), name == layerIDsFile:
			continue
		case !strings.HasSuffix(name, ".safetensors"):
			odd = append(odd, name)
			continue
		}
		err := check(dir, e)
		if err == nil {
			err = r.request(step, open, filepath.Join(dir, name), slots)
		}
		if err != nil {
			r.warn("%v: its request is missing", err)
			if bad++; bad == 1 {
				first = err.Error()
			}
			continue
		}
		step++
	}
	if bad > 0 && step == 0 {
		return nil, fmt.Errorf("%s: none of its files can be read: %s", dir, first)
	}
	if bad > 0 {
		r.unfinished = "a request cannot be read: " + first
	}
	r.warnNames("not a file of the dump, ignored", odd)
	r.lacks.Modules = hiddenModules(slots)
	return r.session()
}

// hiddenSlotOf is where a session has what enters a layer.
type hiddenSlotOf struct{ module, slot string }

// hiddenModules are the modules of the slots, of which nothing else is held.
func hiddenModules(slots []hiddenSlotOf) []string {
	out := []string{topology.EmbedTokensName, topology.InLayer(0, "")}
	for _, s := range slots {
		out = append(out, s.module)
	}
	return out
}

// layerIDs reads the ids of the layers that the hidden states enter: the
// speculative config's eagle_aux_hidden_state_layer_ids. Id i is the sum that
// enters layer i, of which the last id is that before the final norm.
func layerIDs(dir string) ([]hiddenSlotOf, error) {
	path := filepath.Join(dir, layerIDsFile)
	const how = `write the run's eagle_aux_hidden_state_layer_ids there as a JSON list, as in [1, 15, 28, "norm"] ("norm" for the id that is the number of layers)`
	data, err := readSmall(path, maxLayerIDs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: the files do not say which layers their hidden states enter, and there is no %s: %s", dir, layerIDsFile, how)
	}
	if err != nil {
		return nil, err
	}
	var ids []any
	if err := json.Unmarshal(data, &ids); err != nil || len(ids) == 0 {
		return nil, fmt.Errorf("%s is not a JSON list: %s", path, how)
	}
	var out []hiddenSlotOf
	for _, id := range ids {
		var s hiddenSlotOf
		switch id := id.(type) {
		case float64:
			if id < 0 || id > math.MaxInt32 || id != math.Trunc(id) {
				return nil, fmt.Errorf("%s: %v is not the number of a layer: %s", path, id, how)
			}
			s = hiddenSlotOf{topology.InLayer(int(id), topology.InputNormName), "1"}
			if id == 0 {
				s = hiddenSlotOf{topology.EmbedTokensName, ""}
			}
		case string:
			if id != "norm" {
				return nil, fmt.Errorf("%s: %q is not the number of a layer: %s", path, id, how)
			}
			s = hiddenSlotOf{topology.FinalNormName, "1"}
		default:
			return nil, fmt.Errorf("%s: a list of something else than layers: %s", path, how)
		}
		if slices.Contains(out, s) {
			return nil, fmt.Errorf("%s: %v stands twice: %s", path, id, how)
		}
		out = append(out, s)
	}
	return out, nil
}

// request takes in the file of one request as a forward of its own.
func (r *recording) request(step int, open *shelf, path string, slots []hiddenSlotOf) error {
	const device = "cuda:0" // the tensor-parallel rank that writes them
	c, err := open.open(path)
	if err != nil {
		return err
	}
	defer c.Close()
	states, ids := c.tensors[hiddenStates], c.tensors[hiddenTokens]
	switch {
	case states == nil || ids == nil:
		return fmt.Errorf("%s: holds no %s and %s", path, hiddenStates, hiddenTokens)
	case len(states.Shape) != 3 || len(ids.Shape) != 1 || !ids.DType.IsInt():
		return fmt.Errorf("%s: %s is %s and %s is %s, expected [tokens, layers, hidden size] and a vector of ids", path, hiddenStates, states, hiddenTokens, ids)
	case states.Shape[1] != len(slots):
		return fmt.Errorf("%s holds the hidden states of %d layers, and %s names %d", path, states.Shape[1], layerIDsFile, len(slots))
	case states.Shape[0] > ids.Shape[0]:
		return fmt.Errorf("%s holds %d rows of hidden states for %d tokens", path, states.Shape[0], ids.Shape[0])
	case states.Shape[0] == 0:
		return fmt.Errorf("%s holds no token", path)
	}
	rows := states.Shape[0]
	positions := make([]int, rows)
	for i := range positions {
		positions[i] = i
	}
	s := r.step(step)
	s.ids[device] = open.tensor(device, path, hiddenTokens, func(t *tensor.Tensor) (*tensor.Tensor, error) { return t.Narrow(0, 0, min(rows, t.Shape[0])), nil })
	s.positions[device] = integers(device, path+" (positions)", positions, rows)
	for j, at := range slots {
		file := open.tensor(device, path, hiddenStates, func(t *tensor.Tensor) (*tensor.Tensor, error) { return columnOf(t, j) })
		r.add(step, value{device: device, id: callID{at.module, 0}, dir: il.Outputs, slot: at.slot, file: named(file, path, at.module)})
	}
	return nil
}

// named is a tensor under a name of its own: several lie in one of the file.
func named(f *il.TensorFile, path, module string) *il.TensorFile {
	return il.TensorWithin(f.Device, path, fmt.Sprintf("%s [%s of %s]", path, hiddenStates, module), func() (*tensor.Tensor, io.Closer, error) { return f.Open() })
}

// columnOf is [tokens, hidden size] of one layer.
func columnOf(t *tensor.Tensor, j int) (*tensor.Tensor, error) {
	if len(t.Shape) != 3 || j >= t.Shape[1] {
		return nil, fmt.Errorf("is %s, expected [tokens, layers, hidden size]", t)
	}
	v := t.Narrow(1, j, j+1)
	v.Shape, v.Stride = []int{t.Shape[0], t.Shape[2]}, []int{t.Stride[0], t.Stride[2]}
	return v, nil
}
