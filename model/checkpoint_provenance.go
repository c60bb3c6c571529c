package model

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// fingerprinted is how much of a parameter Fingerprints hashes.
const fingerprinted = 64 << 10

// Fingerprint identifies a parameter as an engine computes with it.
type Fingerprint struct {
	Name   string
	Shape  []int
	DType  tensor.DType
	SHA256 string // hex, of the first 64 KiB in C order
}

// Fingerprints identifies the parameters by which sessions of one model are told to
// have the same weights (docs/format.md), in the type to compute in, to which the
// checkpoint's are rounded.
func (c *Checkpoint) Fingerprints(dtype tensor.DType) ([]Fingerprint, error) {
	var out []Fingerprint
	for _, name := range c.fingerprintNames() {
		t, file, err := c.weights.tensor(name)
		if err != nil {
			return nil, err
		}
		data, err := firstBytes(t, dtype)
		if err != nil {
			return nil, fmt.Errorf("%s: tensor %q: %w", c.path(file), name, err)
		}
		sum := sha256.Sum256(data)
		out = append(out, Fingerprint{name, slices.Clone(t.Shape), dtype, hex.EncodeToString(sum[:])})
	}
	return out, nil
}

// fingerprintNames are those of parameters that every engine holds under one name:
// none that one of them packs with others.
func (c *Checkpoint) fingerprintNames() []string {
	oProj := func(layer int) string { return topology.InLayer(layer, topology.OProjName) }
	downProj := func(layer int) string { return topology.InLayer(layer, topology.DownProjName) }
	n := c.Config.NumHiddenLayers
	modules := []string{
		topology.EmbedTokensName, oProj(0), downProj(0), oProj(n / 2), downProj(n / 2), downProj(n - 1), topology.FinalNormName, topology.LMHeadName,
	}
	var out []string
	for _, m := range modules {
		name := m + ".weight"
		if c.Has(name) && !slices.Contains(out, name) && !(m == topology.LMHeadName && c.Config.TieWordEmbeddings) {
			out = append(out, name)
		}
	}
	return out
}

// firstBytes are the first bytes of a weight, in C order, rounded to a type.
func firstBytes(t *tensor.Tensor, dtype tensor.DType) ([]byte, error) {
	n := min(t.Numel(), fingerprinted/dtype.Size())
	out := make([]byte, n*dtype.Size())
	if t.DType == dtype {
		t.Gather(out, 0)
		return out, nil
	}
	v := make([]float64, n)
	if err := t.Float64s(v, 0); err != nil {
		return nil, err
	}
	tensor.StoreFloat64(out, dtype, v)
	return out, nil
}

// ConfigDigest is SHA-256, in hex, of config.json.
func (c *Checkpoint) ConfigDigest() (string, error) {
	b, err := c.read("config.json")
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// BaseName is the name of the checkpoint's folder, without what it lies in.
func (c *Checkpoint) BaseName() string {
	if abs, err := filepath.Abs(c.Name); err == nil {
		return filepath.Base(abs)
	}
	return filepath.Base(c.Name)
}
