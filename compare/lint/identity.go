package lint

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// end is one side of an identity: a slot of a module within its layer.
type end struct {
	rel   string
	dir   il.Direction
	paths []string // the first that is recorded counts
}

func in(rel, path string) end { return end{rel, il.Inputs, []string{path}} }
func out(rel string) end      { return end{rel, il.Outputs, []string{"0", ""}} }
func outAt(rel, path string) end {
	return end{rel, il.Outputs, []string{path}}
}

// rule is one identity, a == b; the value is made in b and seen again in a.
type rule struct {
	a, b  end
	style style
}

// style says for which modules an identity holds.
type style int

const (
	anyStyle    style = iota
	fusedStyle        // vLLM: the residual goes beside the hidden states, the norms add them
	plainStyle        // a layer has the modules of a Llama's, not Gemma's further norms
	plainFused        // both
	hiddenStyle       // transformers: a layer takes and returns hidden states alone
	firstLayer        // fused, and no residual comes in yet
)

// inLayer are the identities within one layer (vLLM's models/llama.py,
// qwen2.py, qwen3.py at v0.11.0; transformers' modeling_llama.py). Other models
// may compute something in between: see conclude.
var inLayer = []rule{
	{in("input_layernorm", "0"), in("", "1"), fusedStyle},
	{in("input_layernorm", "1"), in("", "2"), fusedStyle},
	{in("input_layernorm", "0"), in("", "0"), hiddenStyle},
	{in("self_attn.qkv_proj", "0"), out("input_layernorm"), fusedStyle},
	{in("self_attn.q_proj", "0"), out("input_layernorm"), anyStyle},
	{in("self_attn.k_proj", "0"), out("input_layernorm"), anyStyle},
	{in("self_attn.v_proj", "0"), out("input_layernorm"), anyStyle},
	{in("self_attn.rotary_emb", "0"), in("", "0"), fusedStyle},
	{in("self_attn.rotary_emb", "1"), out("self_attn.q_norm"), anyStyle},
	{in("self_attn.rotary_emb", "2"), out("self_attn.k_norm"), anyStyle},
	{in("self_attn.attn", "0"), outAt("self_attn.rotary_emb", "0"), anyStyle},
	{in("self_attn.attn", "1"), outAt("self_attn.rotary_emb", "1"), anyStyle},
	{in("self_attn.o_proj", "0"), out("self_attn.attn"), anyStyle},
	{out("self_attn"), out("self_attn.o_proj"), anyStyle},
	{in("post_attention_layernorm", "0"), out("self_attn"), fusedStyle},
	{in("post_attention_layernorm", "1"), outAt("input_layernorm", "1"), fusedStyle},
	{in("post_attention_layernorm", "1"), in("input_layernorm", "0"), firstLayer},
	{in("mlp", "0"), out("post_attention_layernorm"), plainStyle},
	{in("mlp.gate_up_proj", "0"), in("mlp", "0"), anyStyle},
	{in("mlp.gate_proj", "0"), in("mlp", "0"), anyStyle},
	{in("mlp.up_proj", "0"), in("mlp", "0"), anyStyle},
	{in("mlp.act_fn", "0"), out("mlp.gate_up_proj"), anyStyle},
	{in("mlp.act_fn", "0"), out("mlp.gate_proj"), anyStyle},
	{in("mlp.down_proj", "0"), out("mlp.act_fn"), fusedStyle},
	{out("mlp"), out("mlp.down_proj"), anyStyle},
	{outAt("", "0"), out("mlp"), plainFused},
	{outAt("", "1"), outAt("post_attention_layernorm", "1"), fusedStyle},
}

// betweenLayers are those of a layer and the one before it.
var betweenLayers = []rule{
	{in("", "0"), in("", "0"), fusedStyle}, // positions
	{in("", "1"), outAt("", "0"), fusedStyle},
	{in("", "2"), outAt("", "1"), fusedStyle},
	{in("", "0"), out(""), hiddenStyle},
}

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
	style := l.styleOf()
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
			for i, r := range inLayer {
				if style.has(r.style, this) {
					l.check(get(fmt.Sprint("in", i), false), this, r.a, this, r.b)
				}
			}
			l.checkQKV(get("qkv", false), this)
			if before, ok := layers[layerID{id.prefix, id.layer - 1}]; ok {
				for i, r := range betweenLayers {
					if style.has(r.style, this) {
						l.check(get(fmt.Sprint("between", i), false), this, r.a, before, r.b)
					}
				}
			}
		}
		l.checkEnds(get, s, style, layers, ids)
	}
	for _, n := range names {
		l.conclude(tallies[n])
	}
}

// styles is what the session looks like.
type styles struct {
	fused, plain bool
}

func (l *linter) styleOf() styles {
	s := styles{plain: true}
	for _, st := range l.steps {
		for _, c := range st.calls {
			switch {
			case c.layer < 0:
			case c.rel == "":
				s.fused = s.fused || c.Slot(il.Inputs, "1") != nil && c.Slot(il.Outputs, "1") != nil
			case c.rel == "post_attention_layernorm":
				s.fused = s.fused || c.Slot(il.Outputs, "1") != nil
			case !slices.Contains([]string{"input_layernorm", "self_attn", "mlp", "block_sparse_moe"}, firstName(c.rel)):
				s.plain = false
			}
		}
	}
	return s
}

func firstName(rel string) string {
	for i := range rel {
		if rel[i] == '.' {
			return rel[:i]
		}
	}
	return rel
}

func (s styles) has(want style, layer layerCalls) bool {
	switch want {
	case fusedStyle:
		return s.fused
	case plainStyle:
		return s.plain
	case plainFused:
		return s.fused && s.plain
	case firstLayer:
		c := layer["input_layernorm"]
		return s.fused && c != nil && c.has[il.Inputs] && c.Slot(il.Inputs, "1") == nil
	case hiddenStyle:
		c := layer[""]
		return !s.fused && c != nil && c.Slot(il.Inputs, "1") == nil
	}
	return true
}

// layers gathers the calls of each layer. Of a module that is called twice in
// a layer neither call is told apart: it is left out.
func (s *stepFacts) layers() (map[layerID]layerCalls, []layerID) {
	all := map[layerID]layerCalls{}
	var ids []layerID
	for _, c := range s.calls {
		if c.layer < 0 {
			continue
		}
		id := layerID{c.prefix, c.layer}
		if all[id] == nil {
			all[id] = layerCalls{}
			ids = append(ids, id)
		}
		if _, twice := all[id][c.rel]; twice {
			all[id][c.rel] = nil
		} else {
			all[id][c.rel] = c
		}
	}
	return all, ids
}

// check compares the hashes of the two ends on every device.
func (l *linter) check(t *tally, la layerCalls, a end, lb layerCalls, b end) {
	ca, cb := la[a.rel], lb[b.rel]
	if ca == nil || cb == nil {
		return
	}
	for _, dev := range ca.deviceNames() {
		x, y := ca.find(dev, a.dir, a.paths...), cb.find(dev, b.dir, b.paths...)
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
func (l *linter) checkEnds(get func(string, bool) *tally, s *stepFacts, style styles, layers map[layerID]layerCalls, ids []layerID) {
	for _, c := range s.calls {
		if c.layer >= 0 {
			continue
		}
		this := layerCalls{lastName(c.Module): c}
		prefix := c.Module[:len(c.Module)-len(lastName(c.Module))] + "layers."
		switch lastName(c.Module) {
		case "embed_tokens":
			p := "0"
			if style.fused {
				p = "1"
			}
			l.check(get("embedding", true), layers[layerID{prefix, 0}], in("", p), this, out("embed_tokens"))
		case "norm":
			top := layerID{prefix, -1}
			for _, id := range ids {
				if id.prefix == prefix {
					top.layer = max(top.layer, id.layer)
				}
			}
			if c.Slot(il.Inputs, "1") == nil { // takes the sum alone
				l.check(get("norm", true), this, in("norm", "0"), layers[top], out(""))
				continue
			}
			l.check(get("norm", true), this, in("norm", "0"), layers[top], outAt("", "0"))
			l.check(get("norm", true), this, in("norm", "1"), layers[top], outAt("", "1"))
		}
	}
}

// checkQKV holds the columns of the packed queries, keys and values against
// the three that rotary_emb and attn were given. Models that normalise queries
// and keys in between have no such identity but for the values.
func (l *linter) checkQKV(t *tally, layer layerCalls) {
	qkv, rope, attn := layer["self_attn.qkv_proj"], layer["self_attn.rotary_emb"], layer["self_attn.attn"]
	if qkv == nil || attn == nil {
		return
	}
	for _, dev := range qkv.deviceNames() {
		packed, v := qkv.find(dev, il.Outputs, "0", ""), attn.find(dev, il.Inputs, "2")
		parts := []*fact{nil, nil, v}
		if rope != nil && layer["self_attn.q_norm"] == nil && layer["self_attn.k_norm"] == nil {
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
	err = both(packed, part, func(x, y *tensor.Tensor) error {
		if x.DType != y.DType || len(x.Shape) != 2 || hi > x.Shape[1] {
			return nil
		}
		v := x.Narrow(1, lo, hi)
		same = slices.Equal(v.Shape, y.Shape) && equalBits(v, y)
		return nil
	})
	return same, err
}

func equalBits(x, y *tensor.Tensor) bool {
	const block = 1 << 13
	es, n := x.DType.Size(), x.Numel()
	a, b := make([]byte, min(block, n)*es), make([]byte, min(block, n)*es)
	for at := 0; at < n; at += block {
		k := min(block, n-at) * es
		x.Gather(a[:k], at)
		y.Gather(b[:k], at)
		if !bytes.Equal(a[:k], b[:k]) {
			return false
		}
	}
	return true
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
	return slices.ContainsFunc(t.broken, func(x breach) bool { return x.a.call.layer != t.broken[0].a.call.layer })
}

// differences says how far apart the two ends are.
func differences(x breach) string {
	if x.a.dtype != x.b.dtype || x.a.numel() != x.b.numel() {
		if lastName(x.b.call.rel) == "qkv_proj" && len(x.a.shape) == 2 && x.a.dtype == x.b.dtype {
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
