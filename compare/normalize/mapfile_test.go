package normalize

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// gpt is base under other names, its results in tuples or not as they were not,
// and with a batch dimension.
func gpt(t *testing.T) *il.Session {
	other := strings.NewReplacer("model.layers.", "transformer.h.", "self_attn", "attention", "mlp", "feed_forward", "model.embed_tokens", "transformer.wte", "model.norm", "transformer.ln_f")
	s := changed(t, open(t, base), same, func(step int, c *il.Call, s *il.Slot, x *tensor.Tensor) []*il.TensorFile {
		x.Shape, x.Stride = append([]int{1}, x.Shape...), append([]int{0}, x.Stride...)
		return []*il.TensorFile{held("cpu", x)}
	})
	var steps []*il.Step
	for _, st := range s.Steps {
		out := &il.Step{Number: st.Number}
		for _, c := range st.Calls {
			d := withSlots(c, c.Slots)
			d.Module = other.Replace(c.Module)
			if d.Module == "transformer.wte" {
				d.Slots[1].Path = "0"
			}
			out.Calls = append(out.Calls, d)
		}
		steps = append(steps, out)
	}
	return sessionOf(steps...)
}

func load2(t *testing.T, text string) (*Map, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "names.json")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return LoadMap(path)
}

// The proposal for a renamed model needs no correction, and a few expressions
// say the same.
func TestMap(t *testing.T) {
	a, b := open(t, base), gpt(t)
	var proposed bytes.Buffer
	require.NoError(t, WriteMap(&proposed, a, b))
	for _, text := range []string{proposed.String(), `{"version": 1, "modules": [
		{"reference": "model\\.layers\\.(\\d+)", "target": "transformer.h.$1"},
		{"reference": "model\\.layers\\.(\\d+)\\.self_attn(.*)", "target": "transformer.h.$1.attention$2"},
		{"reference": "model\\.layers\\.(\\d+)\\.mlp(.*)", "target": "transformer.h.$1.feed_forward$2"},
		{"reference": "model\\.layers\\.(\\d+)\\.(\\w+_layernorm)", "target": "transformer.h.$1.$2"},
		{"reference": "logits_processor", "target": "logits_processor"},
		{"reference": "model.embed_tokens", "target": "transformer.wte"},
		{"reference": "model.norm", "target": "transformer.ln_f"}]}`} {
		m, err := load2(t, text)
		require.NoError(t, err)
		if strings.Contains(text, "logits_processor") {
			_, renamed, _, err := Prepare(a, b, Options{Map: m})
			require.NoError(t, err)
			require.Equal(t, 330, equal(t, a, renamed))
			continue
		}
		_, renamed, _, err := Prepare(a, b, Options{Map: m})
		require.NoError(t, err)
		require.Equal(t, slices.Collect(a.Modules()), slices.Collect(renamed.Modules()))
	}
}

func TestMapErrors(t *testing.T) {
	a := open(t, base)
	for _, c := range []struct{ text, want string }{
		{"", "names.json:1: ends before the map does"},
		{"{\n\"version\": 1,\n", "names.json:3: ends before the map does"},
		{"{\n\"version\": 1,\n]}", "names.json:3: not a map of modules: invalid character ']'"},
		{"{\n\"version\": \"one\"}", "names.json:2: version is a string, expected int"},
		{"{\"version\": 1,\n\"modules\": [{\"refrence\": \"x\"}]}", `names.json:2: unknown field "refrence", did you mean "reference"?`},
		{`{"version": 2, "modules": []}`, `has "version" 2, expected 1`},
		{`{"version": 1, "modules": []}`, `has no "modules": ildiff map REFERENCE TARGET writes a first map`},
		{`{"version": 1, "modules": [{"reference": "x"}]}`, `modules[0] has no "reference" or no "target"`},
		{`{"version": 1, "modules": [{"reference": "(", "target": "x"}]}`, `modules[0]: reference "(" is no regular expression: error parsing regexp: missing closing )`},
		{`{"version": 1, "modules": [{"reference": "a", "target": "b"}]} {}`, "names.json:1: something follows the map's closing brace"},
		{`{"version": 1, "modules": [{"reference": "model.nrm", "target": "x"}]}`, `modules[0]: reference "model.nrm" is no module of ` + a.Dir + "; the nearest name is model.norm"},
		{`{"version": 1, "modules": [{"reference": "model.norm", "target": "model.norn"}]}`, `modules[0]: target "model.norn" is no module of ` + a.Dir + "; the nearest name is model.norm"},
		{`{"version": 1, "modules": [{"reference": "model.norm", "target": "model.embed_tokens"}]}`, "the target's modules model.embed_tokens and model.norm would both be model.norm: map both"},
		{
			`{"version": 1, "modules": [{"reference": "model.norm", "target": "model.norm"}, {"reference": "model.embed_tokens", "target": "model.norm"}]}`,
			"modules[1] maps model.norm of the target to model.norm and to model.embed_tokens",
		},
	} {
		m, err := load2(t, c.text)
		if err == nil {
			_, _, _, err = Prepare(a, a, Options{Map: m})
		}
		require.ErrorContains(t, err, c.want)
		require.NotContains(t, err.Error(), "\n")
	}
	_, err := LoadMap(t.TempDir())
	require.ErrorContains(t, err, "is not a regular file")
	_, err = LoadMap(filepath.Join(t.TempDir(), "absent"))
	require.ErrorContains(t, err, "map: ")
}

func FuzzMap(f *testing.F) {
	f.Add([]byte(`{"version": 1, "modules": [{"reference": "model\\.layers\\.(\\d+)", "target": "h.$1"}]}`))
	f.Add([]byte(`{"version": 1, "modules": [{"reference": "(", "target": "$"}]}`))
	f.Add([]byte("{\n\n]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMap("map", data)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		for i := range m.Modules {
			m.Modules[i].targetOf("model.layers.12.mlp")
		}
	})
}
