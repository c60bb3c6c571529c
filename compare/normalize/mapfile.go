package normalize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/nearest"
	"github.com/ilref/ilref/internal/sidefile"
	"github.com/ilref/ilref/tensor"
)

// Map tells which module of the target is which of the reference, for models
// whose modules have other names. As a file it is JSON:
//
//	{"version": 1, "modules": [{"reference": "model\\.layers\\.(\\d+)\\.mlp", "target": "transformer.h.$1.ffn"}]}
//
// reference is a module's name, or a regular expression of package regexp that
// matches the whole of it; in target, $1 is the first group.
type Map struct {
	Version int       `json:"version"`
	Modules []MapRule `json:"modules"`

	path string
}

// MapRule is one line of a Map.
type MapRule struct {
	Reference string `json:"reference"`
	Target    string `json:"target"`

	re *regexp.Regexp
}

// maxMap bounds a map file, which is read whole.
const maxMap = 16 << 20

// LoadMap reads a map file.
func LoadMap(path string) (*Map, error) {
	data, err := sidefile.Read(path, maxMap)
	if err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	return parseMap(path, data)
}

func parseMap(path string, data []byte) (*Map, error) {
	m := &Map{path: path}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, mapError(path, data, d.InputOffset(), err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s:%d: something follows the map's closing brace", path, lineAt(data, d.InputOffset()))
	}
	if m.Version != 1 {
		return nil, fmt.Errorf(`%s: has "version" %d, expected 1`, path, m.Version)
	}
	if len(m.Modules) == 0 {
		return nil, fmt.Errorf(`%s: has no "modules": ildiff map REFERENCE TARGET writes a first map`, path)
	}
	for i := range m.Modules {
		r := &m.Modules[i]
		if r.Reference == "" || r.Target == "" {
			return nil, fmt.Errorf(`%s: modules[%d] has no "reference" or no "target"`, path, i)
		}
		re, err := regexp.Compile(`^(?:` + r.Reference + `)$`)
		if err != nil {
			return nil, fmt.Errorf("%s: modules[%d]: reference %q is no regular expression: %w", path, i, r.Reference, err)
		}
		r.re = re
	}
	return m, nil
}

// unknownField is how encoding/json names a field that a type lacks.
var unknownField = regexp.MustCompile(`^json: unknown field "(.*)"$`)

func mapError(path string, data []byte, offset int64, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		return fmt.Errorf("%s:%d: %s is a %s, expected %s", path, lineAt(data, kind.Offset), kind.Field, kind.Value, kind.Type)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s:%d: ends before the map does", path, lineAt(data, int64(len(data))))
	}
	if f := unknownField.FindStringSubmatch(err.Error()); f != nil {
		known := []string{"version", "modules", "reference", "target"}
		if n := nearest.To(f[1], known); n != "" {
			return fmt.Errorf("%s:%d: unknown field %q, did you mean %q?", path, lineAt(data, offset), f[1], n)
		}
		return fmt.Errorf("%s:%d: unknown field %q, expected one of %q", path, lineAt(data, offset), f[1], known)
	}
	return fmt.Errorf("%s:%d: not a map of modules: %w", path, lineAt(data, offset), err)
}

func lineAt(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(max(offset, 0), int64(len(data)))], []byte("\n"))
}

// Rename gives the target's modules the names of the reference's. A nil map
// leaves them as they are.
func (m *Map) Rename(ref, target *il.Session) (*il.Session, error) {
	if m == nil {
		return target, nil
	}
	refNames, targetNames := slices.Collect(ref.Modules()), slices.Collect(target.Modules())
	to := map[string]string{} // the reference's name of a module of the target
	for i, r := range m.Modules {
		matched, found := "", false
		for _, name := range refNames {
			want := r.targetOf(name)
			if want == "" {
				continue
			}
			matched = want
			if !slices.Contains(targetNames, want) {
				continue
			}
			if other, taken := to[want]; taken && other != name {
				return nil, fmt.Errorf("%s: modules[%d] maps %s of the target to %s and to %s", m.path, i, want, other, name)
			}
			to[want], found = name, true
		}
		switch {
		case matched == "":
			return nil, noModule(m.path, i, "reference", r.Reference, ref.Dir, refNames)
		case !found:
			return nil, noModule(m.path, i, "target", matched, target.Dir, targetNames)
		}
	}
	return applyNames(m.path, ref, target, to)
}

// targetOf is the target's name of a module of the reference, "" where the rule
// is not for it.
func (r *MapRule) targetOf(name string) string {
	if name == r.Reference {
		return r.Target
	}
	at := r.re.FindStringSubmatchIndex(name)
	if at == nil {
		return ""
	}
	return string(r.re.ExpandString(nil, r.Target, name, at))
}

func noModule(path string, i int, side, name, dir string, names []string) error {
	hint := ""
	if n := nearest.To(name, names); n != "" {
		hint = fmt.Sprintf("; the nearest name is %s", n)
	}
	return fmt.Errorf("%s: modules[%d]: %s %q is no module of %s%s", path, i, side, name, dir, hint)
}

// applyNames makes the session with other names, and brings the tensors of
// renamed calls into the form of the reference's.
func applyNames(path string, ref, target *il.Session, to map[string]string) (*il.Session, error) {
	var steps []*il.Step
	for _, st := range target.Steps {
		out := &il.Step{Number: st.Number}
		seen := map[string]string{}
		for _, c := range st.Calls {
			d := c
			if name, ok := to[c.Module]; ok {
				d = withSlots(c, fitted(ref, st.Number, name, c))
				d.Module = name
			}
			key := fmt.Sprintf("%s %d", d.Module, d.Index)
			if other, taken := seen[key]; taken {
				return nil, fmt.Errorf("%s: the target's modules %s and %s would both be %s: map both", path, other, c.Module, d.Module)
			}
			seen[key] = c.Module
			out.Calls = append(out.Calls, d)
		}
		steps = append(steps, out)
	}
	return derive(target, steps), nil
}

// fitted gives a call's slots the paths and dimensions that the reference has:
// a single result may be in a tuple or not, a batch of one sequence may have a
// dimension or not.
func fitted(ref *il.Session, step int, name string, c *il.Call) []*il.Slot {
	var out []*il.Slot
	for _, s := range c.Slots {
		f := *s
		other := findAny(ref, step, name, c.Index, s.Direction, s.Path)
		if other == nil && s.Direction == il.Outputs && (s.Path == "" || s.Path == "0") {
			path := map[string]string{"": "0", "0": ""}[s.Path]
			if other = findAny(ref, step, name, c.Index, s.Direction, path); other != nil {
				f.Path = path
			}
		}
		mine, theirs := slotShape(s), slotShape(other)
		if mine != nil && theirs != nil && len(mine) == len(theirs)+1 && mine[0] == 1 {
			f.Tensors = nil
			for _, file := range s.Tensors {
				f.Tensors = append(f.Tensors, il.VirtualTensor(file.Device, file.File, func() (*tensor.Tensor, io.Closer, error) {
					return openJoined([]*il.TensorFile{file}, flat)
				}))
			}
		}
		out = append(out, &f)
	}
	return out
}
