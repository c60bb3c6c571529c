package il

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// variantC writes a session again as the oldest logger would have: its hooks
// run over the recorded calls, and what the session holds of a call goes where
// the hook writes. index is the call index of a module's filter, -1 for every
// call.
func variantC(t *testing.T, s *Session, index func(module string) int) string {
	t.Helper()
	dir := t.TempDir()
	for _, st := range s.Steps {
		count := map[string]int{}
		hook := func(c *Call, prefixes ...string) {
			n := count[c.Module]
			if i := index(c.Module); i >= 0 && i != n {
				return
			}
			suffix := ""
			if n > 1 {
				suffix = fmt.Sprintf("_%d", n-1)
			}
			to := filepath.Join(dir, fmt.Sprintf("step_%d", st.Number), c.Module+suffix)
			entries, err := os.ReadDir(c.Dir)
			require.NoError(t, err)
			for _, e := range entries {
				for _, p := range prefixes {
					if strings.HasPrefix(e.Name(), p) {
						data, err := os.ReadFile(filepath.Join(c.Dir, e.Name()))
						require.NoError(t, err)
						write(t, string(data), to, e.Name())
					}
				}
			}
		}
		for _, c := range st.Calls {
			hook(c, "inputs") // before the forward
			count[c.Module]++
			hook(c, "outputs", "post_fwd_inputs") // after it
		}
	}
	return dir
}

// content reads what a call holds of some directions, by slot and device.
func content(t *testing.T, c *Call, directions ...Direction) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, d := range directions {
		if v, err := c.Values(d); err == nil {
			text, err := encodeSide(v)
			require.NoError(t, err)
			out[string(d)] = string(text)
		}
	}
	for _, s := range c.Slots {
		for _, d := range directions {
			if s.Direction != d {
				continue
			}
			for _, f := range s.Tensors {
				x, done, err := f.Open()
				require.NoError(t, err)
				out[string(d)+"/"+s.Path+"/"+f.Device] = x.String() + string(x.Bytes())
				require.NoError(t, done.Close())
			}
			if s.Stub != nil {
				out[string(d)+"/"+s.Path] = fmt.Sprint(*s.Stub)
			}
		}
	}
	return out
}

// TestVariantC: every call has its own inputs again, except for the first of a
// module that was called again, whose inputs were written over.
func TestVariantC(t *testing.T) {
	const order = "no step has a module_calls.txt, as with the oldest logger: calls are in natural order of their names"
	for _, tc := range []struct {
		name  string
		moved int // three calls of rotary_emb: the inputs of the last two
	}{
		{"llama3-gqa-bf16", 3 * 2},
		{"llama3-gqa-bf16-tp2", 3 * 2},
		{"llama3-gqa-bf16-max1000", 2},
	} {
		s := open(t, tc.name)
		again, err := Open(variantC(t, s, func(string) int { return EveryCall }))
		require.NoError(t, err)
		require.Equal(t, VariantC, again.Variant)
		require.Equal(t, []string{order + fmt.Sprintf("; the inputs of %d calls, which it wrote to the directory of the call before, "+
			"are put right, and those of the first call of a module that is called again are lost", tc.moved)}, again.Warnings, tc.name)
		require.Len(t, again.Steps, len(s.Steps))
		for i, st := range s.Steps {
			require.Len(t, again.Steps[i].Calls, len(st.Calls))
			for _, c := range st.Calls {
				got := find(t, again, i, c.Module, c.Index)
				require.Equal(t, content(t, c, Outputs, PostFwdInputs), content(t, got, Outputs, PostFwdInputs))
				if c.Index == 0 && s.Holds(st.Number, c.Module, 1) {
					require.Empty(t, content(t, got, Inputs))
					continue
				}
				require.Equal(t, content(t, c, Inputs), content(t, got, Inputs), "step %d %s call %d", i, c.Module, c.Index)
			}
		}
	}
}

// TestVariantCFilter: a filter by call leaves the inputs of one call and the
// outputs of the one before. With ":1" nothing tells them from those of one
// call.
func TestVariantCFilter(t *testing.T) {
	const rope = "model.layers.0.self_attn.rotary_emb"
	s := open(t, "llama3-gqa-bf16")
	for index, want := range map[int]struct {
		inputs, outputs map[int]int // recorded call by the call that it is read as
	}{
		0: {inputs: map[int]int{0: 0}},
		1: {inputs: map[int]int{0: 1}, outputs: map[int]int{0: 0}},
		2: {inputs: map[int]int{2: 2}, outputs: map[int]int{1: 1}},
		3: {outputs: map[int]int{2: 2}},
	} {
		again, err := Open(variantC(t, s, func(module string) int {
			if module == rope {
				return index
			}
			return EveryCall
		}))
		require.NoError(t, err)
		require.Equal(t, VariantC, again.Variant)
		require.Len(t, again.Warnings, 1)
		calls := map[int]bool{}
		for read, recorded := range want.inputs {
			calls[read] = true
			require.Equal(t, content(t, find(t, s, 1, rope, recorded), Inputs), content(t, find(t, again, 1, rope, read), Inputs), "index %d", index)
		}
		for read, recorded := range want.outputs {
			calls[read] = true
			require.Equal(t, content(t, find(t, s, 1, rope, recorded), Outputs), content(t, find(t, again, 1, rope, read), Outputs), "index %d", index)
		}
		for call := range 4 {
			require.Equal(t, calls[call], again.Holds(1, rope, call), "index %d call %d", index, call)
		}
	}
}

// TestVariantCDied: the inputs of a call that never returned make a call of
// their own, in its place.
func TestVariantCDied(t *testing.T) {
	dir := variantC(t, open(t, "llama3-gqa-bf16"), func(string) int { return EveryCall })
	const rope = "model.layers.0.self_attn.rotary_emb"
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "step_1", rope+"_2")))
	s, err := Open(dir)
	require.NoError(t, err)
	died := find(t, s, 1, rope, 2)
	calls := s.Steps[1].Calls
	require.Same(t, find(t, s, 1, rope, 1), calls[slices.Index(calls, died)-1])
	require.Equal(t, filepath.Join(dir, "step_1", rope+"_2"), died.Dir)
	require.Equal(t, []string{"inputs/0=cuda:0", "inputs/1=cuda:0", "inputs/2=cuda:0"}, slots(died))
	require.Equal(t, []string{"outputs/0=cuda:0", "outputs/1=cuda:0"}, slots(find(t, s, 1, rope, 0)))
}

// TestVariantCOnce: where no module is called again, all is in place.
func TestVariantCOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, `{"type": "tuple", "items": []}`, dir, "step_0", "model.norm", "inputs.json")
	write(t, "null", dir, "step_0", "model.norm", "outputs.json")
	s, err := Open(dir)
	require.NoError(t, err)
	require.Equal(t, VariantC, s.Variant)
	require.Equal(t, []string{"no step has a module_calls.txt, as with the oldest logger: calls are in natural order of their names"}, s.Warnings)
	v, err := s.Steps[0].Calls[0].Values(Inputs)
	require.NoError(t, err)
	require.Equal(t, Tuple{}, v)
}
