package pairing

import (
	"fmt"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// modelShape is what a session tells of its model; 0 is unknown.
type modelShape struct {
	layers, hidden, vocab int
}

func (m modelShape) String() string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{m.layers, "layers"}, {m.hidden, "hidden size"}, {m.vocab, "vocabulary"}} {
		switch {
		case p.n == 0:
		case p.what == "layers":
			parts = append(parts, plural.Count(p.n, "layer"))
		default:
			parts = append(parts, fmt.Sprintf("%s %d", p.what, p.n))
		}
	}
	return strings.Join(parts, ", ")
}

// SameModel refuses sessions whose models certainly differ. What a filtered
// session does not tell is no difference.
func SameModel(ref, target *il.Session) error {
	a, b := shapeOf(ref), shapeOf(target)
	differ := func(x, y int) bool { return x != 0 && y != 0 && x != y }
	if differ(a.layers, b.layers) || differ(a.hidden, b.hidden) || differ(a.vocab, b.vocab) {
		return fmt.Errorf("%s and %s are sessions of different models: %s against %s; compare runs of one checkpoint", ref.Dir, target.Dir, a, b)
	}
	if unrelatedEmbeddings(ref, target) {
		return fmt.Errorf("%s and %s are sessions of different models: model.embed_tokens gives unrelated rows for the same token ids; compare runs of one checkpoint", ref.Dir, target.Dir)
	}
	return nil
}

// LayerCount is the number of layers that either session tells; 0 is unknown.
func LayerCount(ref, target *il.Session) int { return max(countLayers(ref), countLayers(target)) }

func shapeOf(s *il.Session) modelShape {
	m := modelShape{layers: countLayers(s)}
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			switch {
			case topology.Of(c.Module).Kind == topology.Embedding && m.hidden == 0:
				m.hidden = width(c)
			case topology.Of(c.Module).Kind.IsHead() && m.vocab == 0:
				m.vocab = width(c)
			}
		}
		if m.hidden != 0 && m.vocab != 0 {
			break
		}
	}
	return m
}

// width is the last dimension of a single recorded output, 0 where there is
// none.
func width(c *il.Call) int {
	n := 0
	if f := FindSlot(c, il.Outputs, ""); f != nil {
		_ = f.With(func(t *tensor.Tensor) error {
			if len(t.Shape) > 1 {
				n = t.Shape[len(t.Shape)-1]
			}
			return nil
		})
	}
	return n
}

// FindSlot gives the first tensor of a slot, nil where there is none.
func FindSlot(c *il.Call, direction il.Direction, path string) *il.TensorFile {
	if s := c.Slot(direction, path); s != nil && len(s.Tensors) > 0 {
		return s.Tensors[0]
	}
	return nil
}

// countLayers finds how many layers the model has: a recorded layer is its last
// when its output is the final norm's input, to the bit. A filter may have left
// out any layer, so the highest number alone proves nothing.
func countLayers(s *il.Session) int {
	for i := len(s.Steps) - 1; i >= 0; i-- { // decode steps come last and are small
		var layer, norm *il.Call
		for _, c := range s.Steps[i].Calls {
			switch {
			case c.Module == topology.FinalNormName:
				norm = c
			case norm == nil && topology.Locate(c.Module).IsLayer():
				layer = c
			}
		}
		if layer == nil || norm == nil {
			continue
		}
		out, in := FindSlot(layer, il.Outputs, "0"), FindSlot(norm, il.Inputs, "0")
		if out == nil || in == nil {
			continue
		}
		if same, err := EqualFiles(out, in); err == nil && same {
			return topology.Locate(layer.Module).Layer + 1
		}
	}
	return 0
}
