package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// tally counts what became of one rule, over layers, steps and ranks.
type tally struct {
	checked int
	broken  []breach
	unsure  bool // it need not hold: only places where it does make it a rule
}

type breach struct{ a, b *fact }

// layerCalls is one layer of one step, by the name within the layer.
type layerCalls map[string]*callFacts

type layerID struct {
	prefix string
	layer  int
}

// identities checks what one tensor of a session says of another.
func (l *linter) identities() {
	if l.opts.NoValues {
		return
	}
	form, ties := l.formOf(), l.session.Architecture().AllTies()
	tallies := map[string]*tally{}
	var names []string
	get := func(name string, unsure bool) *tally {
		if tallies[name] == nil {
			tallies[name] = &tally{unsure: unsure}
			names = append(names, name)
		}
		return tallies[name]
	}
	for _, s := range l.steps {
		if l.ctx.Err() != nil {
			return
		}
		layers, ids := s.layers()
		for _, id := range ids {
			this := layers[id]
			before := layers[layerID{id.prefix, id.layer - 1}]
			for i, tie := range ties {
				made := this
				if tie.Before {
					made = before
				}
				if form.has(tie.When, this) {
					l.check(get(fmt.Sprint("tie", i), false), this, tie.A, made, tie.B)
				}
			}
			l.checkQKV(get("qkv", false), this)
		}
		l.checkEnds(get, s, form, layers, ids)
	}
	for _, n := range names {
		l.conclude(tallies[n])
	}
}

// form is what the session shows of its layers.
type form struct {
	apart bool // the residual goes beside the hidden states
	plain bool // a layer has a Llama's modules and no others
}

func (l *linter) formOf() form {
	s := form{plain: true}
	for _, st := range l.steps {
		for _, c := range st.calls {
			switch {
			case c.Layer < 0:
			case c.IsLayer():
				s.apart = s.apart || c.Slot(il.Inputs, "1") != nil && c.Slot(il.Outputs, "1") != nil
			case c.Rel == topology.PostAttnNormName:
				s.apart = s.apart || c.Slot(il.Outputs, "1") != nil
			case !topology.LlamaChild(c.Rel):
				s.plain = false
			}
		}
	}
	return s
}

func (s form) has(want topology.Form, layer layerCalls) bool {
	switch want {
	case topology.ResidualApart:
		return s.apart
	case topology.LlamaModules:
		return s.plain
	case topology.LlamaApart:
		return s.apart && s.plain
	case topology.FirstLayer:
		c := layer[topology.InputNormName]
		return s.apart && c != nil && c.has[il.Inputs] && c.Slot(il.Inputs, "1") == nil
	case topology.HiddenAlone:
		c := layer[""]
		return !s.apart && c != nil && c.Slot(il.Inputs, "1") == nil
	}
	return true
}

// layers gathers the calls of each layer. Of a module that is called twice in
// a layer neither call is told apart: it is left out.
func (s *stepFacts) layers() (map[layerID]layerCalls, []layerID) {
	all := map[layerID]layerCalls{}
	var ids []layerID
	for _, c := range s.calls {
		if c.Layer < 0 {
			continue
		}
		id := layerID{c.Prefix, c.Layer}
		if all[id] == nil {
			all[id] = layerCalls{}
			ids = append(ids, id)
		}
		if _, twice := all[id][c.Rel]; twice {
			all[id][c.Rel] = nil
		} else {
			all[id][c.Rel] = c
		}
	}
	return all, ids
}

// check compares the hashes of the two ends on every device.
func (l *linter) check(t *tally, la layerCalls, a topology.End, lb layerCalls, b topology.End) {
	ca, cb := la[a.Rel], lb[b.Rel]
	if ca == nil || cb == nil {
		return
	}
	for _, dev := range ca.deviceNames() {
		x, y := ca.at(dev, a), cb.at(dev, b)
		if x == nil || y == nil || !x.whole || !y.whole {
			continue
		}
		l.Checked.Identities++
		t.checked++
		if x.hash != y.hash || x.numel() != y.numel() {
			t.broken = append(t.broken, breach{x, y})
		}
	}
}

// at returns the fact of one side of a tie.
func (c *callFacts) at(device string, e topology.End) *fact {
	dir := il.Inputs
	if e.Output {
		dir = il.Outputs
	}
	return c.find(device, dir, e.Slots...)
}

func (c *callFacts) deviceNames() []string {
	var names []string
	for _, f := range c.facts {
		if !slices.Contains(names, f.device()) {
			names = append(names, f.device())
		}
	}
	return names
}

// checkEnds holds the embedding against the first layer, and the last layer
// against the final norm. Some models scale the embedding, and a filter may
// have left out the last layer: only where they agree somewhere must they
// agree everywhere.
func (l *linter) checkEnds(get func(string, bool) *tally, s *stepFacts, form form, layers map[layerID]layerCalls, ids []layerID) {
	for _, c := range s.calls {
		if c.Layer >= 0 {
			continue
		}
		this := layerCalls{"": c}
		prefix := strings.TrimPrefix(topology.Parent(c.Module)+".layers.", ".")
		switch c.spec.Kind {
		case topology.Embedding:
			slot, first := "0", layers[layerID{prefix, 0}]
			if form.apart && first.takesIntegers("0") {
				slot = "1"
			}
			l.check(get("embedding", true), first, topology.Given("", slot), this, topology.Returned(""))
		case topology.Norm:
			top := layerID{prefix, -1}
			for _, id := range ids {
				if id.prefix == prefix {
					top.layer = max(top.layer, id.layer)
				}
			}
			if c.Slot(il.Inputs, "1") == nil { // takes the sum alone
				l.check(get("norm", true), this, topology.Given("", "0"), layers[top], topology.Returned(""))
				continue
			}
			l.check(get("norm", true), this, topology.Given("", "0"), layers[top], topology.ReturnedAt("", "0"))
			l.check(get("norm", true), this, topology.Given("", "1"), layers[top], topology.ReturnedAt("", "1"))
		}
	}
}

// takesIntegers reports whether a layer was given integers in a slot.
func (c layerCalls) takesIntegers(path string) bool {
	layer := c[""]
	return layer != nil && slices.ContainsFunc(layer.facts, func(f *fact) bool {
		return f.slot.Direction == il.Inputs && f.slot.Path == path && f.dtype.IsInt()
	})
}

// checkQKV holds the columns of the packed queries, keys and values against
// the three that rotary_emb and attn were given. Models that normalise queries
// and keys in between have no such identity but for the values.
func (l *linter) checkQKV(t *tally, layer layerCalls) {
	for _, names := range topology.Attentions {
		l.checkPacked(t, layer, layer[names.QKV], layer[names.Rotary], layer[names.Attn])
	}
}

func (l *linter) checkPacked(t *tally, layer layerCalls, qkv, rope, attn *callFacts) {
	if qkv == nil || attn == nil {
		return
	}
	for _, dev := range qkv.deviceNames() {
		packed, v := qkv.find(dev, il.Outputs, "0", ""), attn.find(dev, il.Inputs, "2")
		parts := []*fact{nil, nil, v}
		if rope != nil && layer[topology.QNormName] == nil && layer[topology.KNormName] == nil {
			parts[0], parts[1] = rope.find(dev, il.Inputs, "1"), rope.find(dev, il.Inputs, "2")
		}
		widths, ok := columns(packed, attn.find(dev, il.Inputs, "0"), attn.find(dev, il.Inputs, "1"), v)
		if !ok {
			continue
		}
		at := 0
		for i, p := range parts {
			if p != nil && p.whole {
				l.Checked.Identities++
				t.checked++
				if same, err := sameColumns(packed, at, at+widths[i], p); err == nil && !same {
					t.broken = append(t.broken, breach{p, packed})
				}
			}
			at += widths[i]
		}
	}
}

// columns gives the widths of queries, keys and values where they make up the
// packed matrix.
func columns(packed *fact, qkv ...*fact) ([]int, bool) {
	if packed == nil || !packed.whole || len(packed.shape) != 2 {
		return nil, false
	}
	sum := 0
	var widths []int
	for _, f := range qkv {
		if f == nil || len(f.shape) != 2 || f.shape[0] != packed.shape[0] {
			return nil, false
		}
		sum += f.shape[1]
		widths = append(widths, f.shape[1])
	}
	return widths, sum == packed.shape[1]
}

// sameColumns reports whether columns lo to hi-1 of a matrix are a tensor of
// its own.
func sameColumns(packed *fact, lo, hi int, part *fact) (same bool, err error) {
	err = il.WithBoth(packed.file, part.file, func(x, y *tensor.Tensor) error {
		same = len(x.Shape) == 2 && hi <= x.Shape[1] && tensor.SameBits(x.Narrow(1, lo, hi), y)
		return nil
	})
	return same, err
}

// conclude reports the places where an identity does not hold. One that holds
// nowhere, in several places, is not one of this model: that is said once.
func (l *linter) conclude(t *tally) {
	n := len(t.broken)
	all := n == t.checked
	switch {
	case n == 0 || all && t.unsure:
		return
	case all && n > 1 && t.severalLayers():
		x := t.broken[0]
		l.add(Warning, "broken-identity", x.a.call, x.a, "%s is not %s, nor is it so in any of the %d places of the session (%s): the model computes something in between, or all were recorded at the wrong time",
			x.a.name(), x.b.name(), n, differences(x))
		return
	}
	for _, x := range t.broken {
		l.add(Error, "broken-identity", x.a.call, x.a, "%s must be %s to the bit, but %s: one of the two was overwritten before it was saved, or is of another run; record again",
			x.a.name(), x.b.name(), differences(x))
	}
}

func (t *tally) severalLayers() bool {
	return slices.ContainsFunc(t.broken, func(x breach) bool { return x.a.call.Layer != t.broken[0].a.call.Layer })
}

// differences says how far apart the two ends are.
func differences(x breach) string {
	if x.a.dtype != x.b.dtype || x.a.numel() != x.b.numel() {
		if x.b.call.spec.Kind == topology.QKVLinear && len(x.a.shape) == 2 && x.a.dtype == x.b.dtype {
			return fmt.Sprintf("its %d columns are not those of the %d", x.a.shape[1], x.b.shape[1])
		}
		return fmt.Sprintf("it is %s%s against %s%s", x.a.dtype, tensor.ShapeString(x.a.shape), x.b.dtype, tensor.ShapeString(x.b.shape))
	}
	g, err := gap(x.a, x.b)
	switch {
	case err != nil:
		return "they cannot be compared: " + oneLine(err.Error())
	case g.Identical():
		return "the signs of zeros or the kinds of NaN differ"
	}
	return fmt.Sprintf("max_abs %.3g at %v, rel_l2 %.2g, %d of %d values differ", g.MaxAbs, g.MaxAbsAt, g.RelL2, g.Values-g.Equal, g.Values)
}
