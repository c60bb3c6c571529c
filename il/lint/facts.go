package lint

import (
	"context"
	"strconv"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// stepFacts is a step and its calls in execution order.
type stepFacts struct {
	number int
	dir    string
	calls  []*callFacts
	last   bool // no step follows

	tokens map[string]hashed // of a device, once asked for
}

// forward reports whether the step holds more than the logits of the step
// before.
func (s *stepFacts) forward() bool {
	for _, c := range s.calls {
		if c.spec.Kind != topology.Logits {
			return true
		}
	}
	return false
}

// callFacts is one call and what was learned from its files.
type callFacts struct {
	*il.Call
	step           *stepFacts
	order          int                   // in the step
	spec           *topology.Spec        // what the module is
	topology.Place                       // of the module, in the layer that it works for; -1 where that is not known
	facts          []*fact               // of every tensor, in the order of the slots
	side           []sideNote            // what the side files say otherwise
	has            map[il.Direction]bool // a tensor, a stub or a side file is there
	sides          bool                  // it has a side file

	noDir bool // listed only
	open  bool // the run ended within it
	quirk bool // half of it was left out by the logger's own filter

	inputs map[string]hashed // of a device, once asked for
	given  bool              // it records positional arguments
}

func (c *callFacts) name() string { return il.CallName(c.Module, c.Index) }

// path is the name with the layer that the call worked for: of the rotary
// embedding that layers share not the one that it is listed under.
func (c *callFacts) path() string { return c.Place.Name() }

// fact is what one pass over a tensor tells.
type fact struct {
	call  *callFacts
	slot  *il.Slot
	file  *il.TensorFile
	err   error // it cannot be read
	whole bool  // its values were read
	dtype tensor.DType
	shape []int
	flags
}

func (f *fact) numel() int {
	n := 1
	for _, s := range f.shape {
		n *= s
	}
	return n
}

func (f *fact) device() string { return f.file.Device }

// isFloat: of the kinds whose values a model computes.
func (f *fact) isFloat() bool {
	k := f.dtype.Kind()
	return k == tensor.KindFloat || k == tensor.KindComplex || k == tensor.KindPacked
}

// some reports whether the tensor holds enough different values that another
// one is not equal to it by chance.
func (f *fact) some() bool { return f.whole && f.isFloat() && !f.constant && f.numel() >= fewValues }

// fewValues: tensors of fewer values (scales, one router row) may be equal or
// constant by nature.
const fewValues = 8

// name is the call and the slot: "model.layers.1.mlp outputs_0"; of one rank
// of several also the device.
func (f *fact) name() string {
	s := f.call.name() + " " + slotName(f.slot.Direction, f.slot.Path)
	if len(f.slot.Tensors) > 1 {
		s += " of " + f.device()
	}
	return s
}

// find returns the fact of a slot for a device. Of several paths the first
// that there is counts: a single result is "" where others are "0".
func (c *callFacts) find(device string, dir il.Direction, paths ...string) *fact {
	for _, p := range paths {
		for _, f := range c.facts {
			if f.slot.Direction == dir && f.slot.Path == p && f.device() == device {
				return f
			}
		}
	}
	return nil
}

func slotName(d il.Direction, path string) string {
	if path == "" {
		return string(d)
	}
	return string(d) + "_" + path
}

// stepNames writes ascending numbers as "step 3" or "steps 0-2, 5".
func stepNames(n []int) string {
	var parts []string
	for i := 0; i < len(n); {
		j := i
		for j+1 < len(n) && n[j+1] == n[j]+1 {
			j++
		}
		if parts = append(parts, strconv.Itoa(n[i])); j > i {
			parts[len(parts)-1] += "-" + strconv.Itoa(n[j])
		}
		i = j + 1
	}
	if len(n) == 1 {
		return "step " + parts[0]
	}
	return "steps " + strings.Join(parts, ", ")
}

// newLinter lays out the facts of a session, not read yet.
func newLinter(ctx context.Context, s *il.Session, o Options) *linter {
	l := &linter{Result: Result{Dir: s.Dir}, ctx: ctx, session: s, opts: o, index: map[findingKey]int{}}
	arch := s.Architecture()
	for i, st := range s.Steps {
		sf := &stepFacts{number: st.Number, dir: stepDir(s, st), last: i == len(s.Steps)-1}
		for j, c := range st.Calls {
			m := arch.Of(c.Module)
			cf := &callFacts{Call: c, step: sf, order: j, spec: m.Spec, Place: m.Place, has: map[il.Direction]bool{}}
			for _, slot := range c.Slots {
				cf.has[slot.Direction] = true
				for _, f := range slot.Tensors {
					cf.facts = append(cf.facts, &fact{call: cf, slot: slot, file: f})
				}
			}
			sf.calls = append(sf.calls, cf)
		}
		sf.placeRopes(s.Variant)
		l.steps = append(l.steps, sf)
		l.Checked.Calls += len(sf.calls)
	}
	l.Checked.Steps = len(l.steps)
	return l
}

// placeRopes finds the layer of each call of a rotary embedding that layers
// share: vLLM lists it under the first of them. It runs between qkv_proj (or
// the norms of queries and keys) and attn.
func (s *stepFacts) placeRopes(v il.Variant) {
	for i, c := range s.calls {
		if c.Layer < 0 || c.spec.Kind != topology.Rope {
			continue
		}
		owner := -1
		if v != il.VariantC { // its calls are not in execution order
			if i > 0 {
				switch p := s.calls[i-1]; p.spec.Kind {
				case topology.QKVLinear, topology.QKNorm:
					owner = p.Layer
				}
			}
			if i+1 < len(s.calls) && s.calls[i+1].spec.Kind == topology.Attention && s.calls[i+1].Layer >= 0 {
				owner = s.calls[i+1].Layer
			}
		}
		if c.Layer = owner; owner < 0 {
			c.Rel = c.Module
		}
	}
}
