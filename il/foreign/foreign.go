// Package foreign reads what other tools dump of a model's modules as sessions:
// il.Open for directories that no IL logger wrote.
//
//	SGLang's dumper, vLLM's port of it   dumper_name.go, dumper.go, calls.go, logits.go
//	SGLang's PassNNNNN.pt                pass.go
//	Ascend msprobe                       msprobe_json.go, msprobe.go
//	vllm-neuron's tensor folders         neuron.go
//	vLLM's extracted hidden states       hidden.go
//
// A form is recognised by what a directory holds. Its names are mapped onto vLLM's,
// and the logits of a forward lie in the step after it, as in a session, so that
// everything that takes a session takes a dump. What a form has no place for is
// told by il.Lacks. Nothing of a file is trusted: names are checked before they
// become modules, sizes by package pt and package safetensors, and no link is
// followed.
package foreign

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
)

// form is a kind of dump.
type form struct {
	name string

	// find lists the directories that hold a dump: dir, or ones below it.
	find func(dir string, entries []os.DirEntry) []string
	read func(dir string) (*il.Session, error)
}

var forms = []form{
	{"SGLang's dumper", findDumper, readDumper},
	{"SGLang's PassNNNNN.pt", findPass, readPass},
	{"msprobe", findMsprobe, readMsprobe},
	{"vllm-neuron", findNeuron, readNeuron},
	{"vLLM's hidden states", findHidden, readHidden},
}

// Open reads the structure of a session, or of another tool's dump, and no tensor.
// dir is its directory, or one above it that holds no other.
func Open(dir string) (*il.Session, error) {
	dir = filepath.Clean(dir)
	entries, err := list(dir)
	if err != nil { // told in il's words
		return il.Open(dir)
	}
	var found []string
	var of []form
	for _, f := range forms {
		for _, at := range f.find(dir, entries) {
			found, of = append(found, at), append(of, f)
		}
	}
	if len(found) == 0 {
		return il.Open(dir)
	}
	if s, err := il.Open(dir); err == nil {
		return nil, fmt.Errorf("%s holds a session, %s, and a dump of %s, %s: name one of them, or move one away", dir, s.Dir, of[0].name, found[0])
	}
	if len(found) == 1 {
		return of[0].read(found[0])
	}
	names := make([]string, len(found))
	same := true
	for i, at := range found {
		names[i] = fmt.Sprintf("%s (%s)", at, of[i].name)
		same = same && at == found[0]
	}
	if same {
		return nil, fmt.Errorf("%s mixes files of %s: move those of one dump to a directory of their own", found[0], strings.Join(formNames(of), " and "))
	}
	return nil, fmt.Errorf("%s holds %d dumps, name one of them: %s", dir, len(found), plural.First(names, 10))
}

func formNames(of []form) []string {
	var out []string
	for _, f := range of {
		out = append(out, f.name)
	}
	return out
}

// selfOrBelow lists dir where it holds a dump, else the directories in it that do.
func selfOrBelow(dir string, entries []os.DirEntry, holds func(name string, entries []os.DirEntry) bool) []string {
	return selfOrBelowAt(dir, entries, func(at string, entries []os.DirEntry) bool { return holds(filepath.Base(at), entries) })
}

// selfOrBelowAt is selfOrBelow for what must look into files.
func selfOrBelowAt(dir string, entries []os.DirEntry, holds func(dir string, entries []os.DirEntry) bool) []string {
	if holds(dir, entries) {
		return []string{dir}
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		below := filepath.Join(dir, e.Name())
		if in, err := list(below); err == nil && holds(below, in) {
			out = append(out, below)
		}
	}
	return out
}
