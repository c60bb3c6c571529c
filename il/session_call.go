package il

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ilref/ilref/topology"
)

// namesOf returns the names of all calls of all steps, and whether any step
// lists them in order.
func namesOf(steps []*rawStep) (names map[string]bool, listed bool) {
	names = map[string]bool{}
	for _, s := range steps {
		listed = listed || s.hasTxt
		for name := range s.dirs {
			names[name] = true
		}
		for _, name := range s.listed {
			names[name] = true
		}
	}
	return names, listed
}

// splitCall parts "name_k" into the module and the call, where name is a
// module of the session or one that is called several times; otherwise the
// whole is a name.
func splitCall(name string, names map[string]bool) (module string, call int) {
	i := strings.LastIndexByte(name, '_')
	if i <= 0 || !plainNumber(name[i+1:]) || name[i+1:] == "0" {
		return name, 0
	}
	base := name[:i]
	k, err := strconv.ParseInt(name[i+1:], 10, 32)
	if err != nil || !names[base] && !topology.Of(base).Shared {
		return name, 0
	}
	return base, int(k)
}

// call reads the directory of one call.
func (sc *scanner) call(raw *rawStep, name string, names map[string]bool) (*Call, error) {
	c := &Call{Dir: filepath.Join(sc.dir, raw.name, name), side: map[Direction]string{}}
	slots := slotsOf{c, map[fileName]*Slot{}}
	c.Module, c.Index = splitCall(name, names)
	if !raw.dirs[name] {
		c.leavesTrace = true
		return c, nil
	}
	entries, err := readDir(c.Dir)
	if err != nil {
		return nil, err
	}
	var odd, temp []string
	for _, e := range entries {
		f, ok := parseFileName(e.Name())
		path := filepath.Join(c.Dir, e.Name())
		switch {
		case !ok && strings.HasSuffix(e.Name(), tempSuffix):
			temp = append(temp, e.Name())
		case !ok:
			odd = append(odd, e.Name())
		case f.kind == tensorFile:
			slots.addTensor(f, &TensorFile{Device: f.device, File: path, refused: sc.refuse(path, e)})
		case f.kind == sideFile:
			sc.json = true
			if sc.refuse(path, e) == nil {
				c.side[f.direction] = path
			}
		case f.kind == stubFile:
			sc.json = true
			sc.addStub(slots, f, path, sc.refuse(path, e))
		}
	}
	sc.warnNames(c.Dir, odd, "not a file of a session, ignored")
	sc.warnNames(c.Dir, temp, "left by a run that is still going, or died")
	sc.singleStub(slots)
	c.sortSlots()
	return c, nil
}

// refuse tells why a file must not be opened: a link out of the session, a
// directory, a pipe.
func (sc *scanner) refuse(path string, e fs.DirEntry) error {
	if err := sc.check(path, e); err != nil {
		sc.warn("%v", err)
		return err
	}
	if t := e.Type() &^ fs.ModeSymlink; t != 0 {
		err := fmt.Errorf("%s is not a regular file", path)
		sc.warn("%v", err)
		return err
	}
	return nil
}

// slotsOf finds the slots of a call while its files are listed.
type slotsOf struct {
	call *Call
	at   map[fileName]*Slot // by direction and slot
}

// slot returns the slot of a file, made where it is new.
func (c slotsOf) slot(f fileName) *Slot {
	key := fileName{direction: f.direction, slot: f.slot}
	s := c.at[key]
	if s == nil {
		s = &Slot{Direction: f.direction, Path: f.slot}
		c.at[key] = s
		c.call.Slots = append(c.call.Slots, s)
	}
	return s
}

func (c slotsOf) addTensor(f fileName, t *TensorFile) {
	s := c.slot(f)
	s.Tensors = append(s.Tensors, t)
}

// addStub reads a stub. One that cannot be read still takes its slot, with the
// reason, so that the tensor is not lost.
func (sc *scanner) addStub(c slotsOf, f fileName, path string, refused error) {
	stub := &Stub{}
	err := refused
	if err == nil {
		if stub, err = readStub(path); err != nil {
			sc.warn("%v", err)
		}
	}
	if err != nil {
		stub = &Stub{Reason: err.Error()}
	}
	c.slot(f).Stub = stub
}

// singleStub finds the stub of a single result: the logger writes it as
// outputs.json, over the side file of that name.
func (sc *scanner) singleStub(c slotsOf) {
	path, ok := c.call.side[Outputs]
	if !ok || slices.ContainsFunc(c.call.Slots, func(s *Slot) bool { return s.Direction == Outputs }) {
		return
	}
	stub, err := readStub(path)
	switch {
	case err == nil:
		c.slot(fileName{direction: Outputs}).Stub = stub
	case !errors.Is(err, errNotStub) && !errors.Is(err, errNotObject): // null, of a module that returns nothing
		sc.warn("%v", err)
	}
}
