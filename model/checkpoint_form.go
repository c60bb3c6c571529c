package model

import (
	"fmt"

	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/model/safetensors"
	"github.com/ilref/ilref/tensor"
)

// weightForm is a file format of weights and the names it is found under.
type weightForm struct {
	single, index string
	parse         func(name string, data []byte) (weightFile, error)
}

// weightForms are the formats in order of preference.
var weightForms = []weightForm{
	{"model.safetensors", "model.safetensors.index.json", parseSafetensors},
	{"pytorch_model.bin", "pytorch_model.bin.index.json", parseTorch},
}

// weightFile is one parsed file of weights.
type weightFile interface {
	// sizes returns the bytes of each tensor.
	sizes() map[string]int
	// tensor returns a contiguous tensor that sizes names.
	tensor(name string) (*tensor.Tensor, error)
}

type safetensorsFile struct{ *safetensors.File }

func parseSafetensors(name string, data []byte) (weightFile, error) {
	f, err := safetensors.Parse(name, data)
	return safetensorsFile{f}, err
}

func (f safetensorsFile) sizes() map[string]int {
	sizes := map[string]int{}
	for _, e := range f.Entries() {
		sizes[e.Name] = e.End - e.Begin
	}
	return sizes
}

func (f safetensorsFile) tensor(name string) (*tensor.Tensor, error) { return f.Tensor(name) }

// torchFile is a state_dict that torch.save wrote.
type torchFile map[string]*tensor.Tensor

func parseTorch(name string, data []byte) (weightFile, error) {
	f, err := pt.Parse(name, data)
	if err != nil {
		return nil, err
	}
	out := torchFile{}
	for _, t := range f.Tensors() {
		if len(t.Keys) != 1 {
			return nil, fmt.Errorf("%s: holds the tensor %q, expected a state_dict: a dict of tensors by name", name, t.Path)
		}
		out[t.Keys[0]] = t.Tensor
	}
	return out, nil
}

func (f torchFile) sizes() map[string]int {
	sizes := map[string]int{}
	for name, t := range f {
		sizes[name] = t.NumBytes()
	}
	return sizes
}

func (f torchFile) tensor(name string) (*tensor.Tensor, error) {
	t := f[name]
	switch {
	case t.Meta:
		return nil, fmt.Errorf("tensor %q is on the meta device and has no data", name)
	case t.NumBytes() > len(t.Data):
		return nil, fmt.Errorf("tensor %q is a view that repeats its elements, expected a weight", name)
	}
	if !t.IsContiguous() || t.Neg {
		t = t.Clone()
	}
	return t, nil
}
