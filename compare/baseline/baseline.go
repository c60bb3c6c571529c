// Package baseline keeps a fingerprint of a session that is known good:
// kilobytes in place of gigabytes, to hold later sessions against.
//
//	fingerprint  hash, statistics and random projections of a tensor  fingerprint.go
//	take         the fingerprint of a session                         take.go
//	check        a session's fingerprint against the baseline's       check.go, text.go
//	keep         a copy of the session itself, beside its fingerprint keep.go
package baseline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/ilref/ilref/internal/sidefile"
	"github.com/ilref/ilref/tensor"
)

// Schema names the form of a baseline file. It changes with anything that makes
// fingerprints differ, the generator of the projections included.
const Schema = "ildiff.baseline/v1"

// Baseline is the content of a file.
type Baseline struct {
	Schema  string    `json:"schema"`
	History []Entry   `json:"history"` // the first is the save, every other an accept
	Kept    *Kept     `json:"kept,omitempty"`
	Tensors []*Tensor `json:"tensors"` // in execution order
}

// Entry says where the content of a baseline comes from.
type Entry struct {
	Action     string `json:"action"`  // save or accept
	Session    string `json:"session"` // the name of its directory
	Tool       string `json:"tool"`
	Time       string `json:"time,omitempty"` // RFC 3339, where it was asked for
	Note       string `json:"note,omitempty"`
	Reason     string `json:"reason,omitempty"`      // of an accept
	DespiteGap string `json:"despite_gap,omitempty"` // the divergence that was accepted
}

// Tensor is the fingerprint of one tensor of one rank.
type Tensor struct {
	Step      int    `json:"step"`
	Module    string `json:"module"`
	Call      int    `json:"call"`
	Direction string `json:"direction"`
	Slot      string `json:"slot"`
	Rank      int    `json:"rank"` // in the natural order of devices, whose names do not count
	Fingerprint
}

// key tells tensors apart.
type key struct {
	step            int
	module          string
	call            int
	direction, slot string
	rank            int
}

func (t *Tensor) key() key { return key{t.Step, t.Module, t.Call, t.Direction, t.Slot, t.Rank} }

// String is the tensor's name as ildiff writes it, with the rank of those but
// the first.
func (t *Tensor) String() string {
	s := fmt.Sprintf("step_%d/%s", t.Step, t.Module)
	if t.Call > 0 {
		s += fmt.Sprintf("_%d", t.Call)
	}
	s += "/" + t.Direction
	if t.Slot != "" {
		s += "_" + t.Slot
	}
	if t.Rank > 0 {
		s += fmt.Sprintf(" of rank %d", t.Rank)
	}
	return s
}

// maxFile bounds a baseline, which is read whole: 1.5 million tensors.
const maxFile = 1 << 30

// Load reads a baseline. Nothing in it is trusted.
func Load(path string) (*Baseline, error) {
	data, err := sidefile.ReadJSON(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	return Parse(path, data)
}

// Parse reads the text of a baseline; name is what errors call it.
func Parse(name string, data []byte) (*Baseline, error) {
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("%s: is no baseline: %w; ildiff baseline save writes one", name, err)
	}
	switch family, _, _ := strings.Cut(Schema, "/"); {
	case head.Schema == Schema:
	case strings.HasPrefix(head.Schema, family+"/"):
		return nil, fmt.Errorf("%s: is stale: its schema is %s, this ildiff's %s; save it again from its session", name, head.Schema, Schema)
	default:
		return nil, fmt.Errorf("%s: is no baseline: its schema is %q, want %q; ildiff baseline save writes one", name, head.Schema, Schema)
	}
	b := &Baseline{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(b); err != nil {
		return nil, fmt.Errorf("%s: is damaged: %w", name, err)
	}
	if len(b.Tensors) == 0 || len(b.History) == 0 {
		return nil, fmt.Errorf("%s: is damaged: it holds %d tensors and %d lines of history, want one of each at least", name, len(b.Tensors), len(b.History))
	}
	if b.Kept != nil {
		if err := b.Kept.check(); err != nil {
			return nil, fmt.Errorf("%s: is damaged: %w", name, err)
		}
	}
	seen := map[key]bool{}
	for i, t := range b.Tensors {
		switch {
		case t == nil:
			return nil, fmt.Errorf("%s: is damaged: tensors[%d] is null", name, i)
		case seen[t.key()]:
			return nil, fmt.Errorf("%s: is damaged: %s stands twice", name, t)
		}
		seen[t.key()] = true
		if err := t.check(); err != nil {
			return nil, fmt.Errorf("%s: is damaged: %s: %w", name, t, err)
		}
	}
	return b, nil
}

// Write writes the file. Equal baselines give equal bytes.
func (b *Baseline) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(b)
}

// dtype is the element type; check has seen that there is one.
func (f *Fingerprint) dtype() tensor.DType {
	d, _ := tensor.ParseDType(f.DType)
	return d
}
