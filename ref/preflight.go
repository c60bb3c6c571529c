package ref

import (
	"fmt"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// CheckSession reports the first sign that a session is of another model: a
// module that the model does not have, or another width of the hidden states.
func CheckSession(s *il.Session, m *model.CausalLM) error {
	known := map[string]bool{}
	for _, name := range m.ModuleNames() {
		known[name] = true
	}
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			if !known[c.Module] {
				return fmt.Errorf("%s: step_%d records %s, which the model does not have (%s, %d layers): is it a session of this model?",
					s.Dir, st.Number, c.Module, m.Config.Architectures[0], m.Config.NumHiddenLayers)
			}
		}
	}
	hidden, err := firstHidden(s)
	if err != nil || hidden == nil {
		return err
	}
	if width := hidden.Shape[len(hidden.Shape)-1]; width != m.Config.HiddenSize {
		return fmt.Errorf("%s: its hidden states are %d wide, but the model's hidden_size is %d: is it a session of this model?",
			s.Dir, width, m.Config.HiddenSize)
	}
	return nil
}

// ActivationDType returns the type of a session's hidden states, Invalid where
// none is recorded.
func ActivationDType(s *il.Session) tensor.DType {
	if t, err := firstHidden(s); err == nil && t != nil {
		return t.DType
	}
	return tensor.Invalid
}

// hiddenStates are slots that hold (T, H) in every layer layout.
var hiddenStates = []struct {
	module    string
	direction il.Direction
	slot      string
}{
	{topology.EmbedTokensName, il.Outputs, ""},
	{topology.GptOssEmbeddingName, il.Outputs, ""},
	{topology.FinalNormName, il.Inputs, "0"},
	{topology.LogitsProcessorName, il.Inputs, "1"},
}

// firstHidden returns the type and shape, not the values, of the first hidden
// states that a session records, nil where it records none.
func firstHidden(s *il.Session) (*tensor.Tensor, error) {
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			for _, h := range hiddenStates {
				if c.Module != h.module {
					continue
				}
				slot := c.Slot(h.direction, h.slot)
				if slot == nil || len(slot.Tensors) == 0 {
					continue
				}
				t, closer, err := slot.Tensors[0].Open()
				if err != nil {
					return nil, err
				}
				defer closer.Close()
				if len(t.Shape) == 0 {
					return nil, fmt.Errorf("%s: is a scalar, expected hidden states (T, H)", slot.Tensors[0].File)
				}
				return &tensor.Tensor{DType: t.DType, Shape: t.Shape, Stride: t.Stride}, nil
			}
		}
	}
	return nil, nil
}
