package lint

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// sideNote is where a side file and the tensors beside it do not agree.
type sideNote struct {
	kind      noteKind
	direction il.Direction
	path      string
	said      string // what the side file says: "bfloat16[11,64]"
	fact      *fact  // the tensor, where there is one
	err       error
}

type noteKind int

const (
	noteUnreadable noteKind = iota // the side file cannot be read
	noteAbsent                     // it lists a tensor that has no file
	noteOther                      // it lists another shape or type
	noteUnlisted                   // it does not list the tensor
	noteNoSide                     // tensors without a side file
)

var directions = []il.Direction{il.Inputs, il.Outputs, il.PostFwdInputs}

// maxListed is how many items of a container a side file holds at most.
const maxListed = 100

// readSides holds the side files against the tensors.
func (c *callFacts) readSides() {
	for _, d := range directions {
		v, err := c.Values(d)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if c.has[d] {
				c.side = append(c.side, sideNote{kind: noteNoSide, direction: d})
			}
			continue
		case err != nil:
			c.side = append(c.side, sideNote{kind: noteUnreadable, direction: d, err: err})
		default:
			c.compareSide(d, v)
		}
		c.has[d], c.sides = true, true
	}
}

func (c *callFacts) compareSide(d il.Direction, v il.Value) {
	listed := map[string]*tensor.Tensor{}
	var paths []string
	cut := false
	walk(v, "", func(path string, t *tensor.Tensor, full bool) {
		if !full {
			cut = true
			return
		}
		listed[path] = t
		paths = append(paths, path)
	})
	for _, p := range paths {
		t := listed[p]
		slot := c.Slot(d, p)
		switch {
		case slot == nil:
			c.side = append(c.side, sideNote{kind: noteAbsent, direction: d, path: p, said: t.String()})
		case slot.Stub == nil:
			c.compareShape(d, p, t)
		}
	}
	for _, s := range c.Slots {
		if s.Direction == d && s.Stub == nil && listed[s.Path] == nil && !cut && !byKeyword(s) {
			c.side = append(c.side, sideNote{kind: noteUnlisted, direction: d, path: s.Path})
		}
	}
}

// compareShape notes a tensor that is not what the side file says on any rank:
// all ranks write the one side file.
func (c *callFacts) compareShape(d il.Direction, path string, t *tensor.Tensor) {
	var other *fact
	for _, f := range c.facts {
		if f.slot.Direction != d || f.slot.Path != path {
			continue
		}
		if f.err != nil || f.dtype == t.DType && slices.Equal(f.shape, t.Shape) {
			return
		}
		other = f
	}
	if other != nil {
		c.side = append(c.side, sideNote{kind: noteOther, direction: d, path: path, said: t.String(), fact: other})
	}
}

// walk calls f with the tensors in a value and the path of each, and with
// full false where the logger cut a container.
func walk(v il.Value, path string, f func(path string, t *tensor.Tensor, full bool)) {
	below := func(key string) string {
		if path == "" {
			return key
		}
		return path + "_" + key
	}
	items := func(v []il.Value) {
		for i, x := range v {
			walk(x, below(strconv.Itoa(i)), f)
		}
		if len(v) >= maxListed {
			f(path, nil, false)
		}
	}
	switch v := v.(type) {
	case *tensor.Tensor:
		f(path, v, true)
	case il.Tuple:
		items(v)
	case il.List:
		items(v)
	case il.Dict:
		for _, it := range v {
			walk(it.Value, below(it.Key), f)
		}
		if len(v) >= 20 { // of a larger dict the logger keeps the first 20
			f(path, nil, false)
		}
	}
}

// byKeyword reports whether a slot is of an argument that was given by keyword,
// which a side file does not list.
func byKeyword(s *il.Slot) bool {
	return s.Direction != il.Outputs && s.Path != "" && (s.Path[0] < '0' || s.Path[0] > '9')
}
