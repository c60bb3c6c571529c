package compare

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// session is one in memory: steps of calls, a call written as "name" or
// "name_1".
func session(steps map[int]string) *il.Session {
	s := &il.Session{Dir: "made"}
	for n := range 20 {
		names, ok := steps[n]
		if !ok {
			continue
		}
		st := &il.Step{Number: n}
		for name := range strings.FieldsSeq(names) {
			c := &il.Call{Module: name}
			if base, k, ok := strings.Cut(name, "_call"); ok {
				c.Module, c.Index = base, int(k[0]-'0')
			}
			st.Calls = append(st.Calls, c)
		}
		s.Steps = append(s.Steps, st)
	}
	return s
}

func orderOf(t *testing.T, ref, target *il.Session) []*forward {
	t.Helper()
	sel, err := newSelection(ref, target, nil, nil, false)
	require.NoError(t, err)
	return order(ref, target, sel)
}

func names(cs []*call) string {
	out := make([]string, len(cs))
	for i, c := range cs {
		out[i] = il.CallName(c.module, c.index)
	}
	return strings.Join(out, " ")
}

// The logits of step n+1 are the last of forward n; the very last step holds
// nothing else.
func TestLogitsBelongToTheForwardBefore(t *testing.T) {
	s := session(map[int]string{0: "a b", 1: "logits_processor a b", 2: "logits_processor logits_processor_call1"})
	fs := orderOf(t, s, s)
	require.Len(t, fs, 2)
	require.Equal(t, "a b logits_processor", names(fs[0].calls))
	require.Equal(t, "a b logits_processor logits_processor_1", names(fs[1].calls))
	require.Equal(t, 1, fs[0].calls[2].step)
}

// Calls of one session only stand where they ran.
func TestMergedOrder(t *testing.T) {
	ref := session(map[int]string{0: "a c d", 3: "x"})
	target := session(map[int]string{0: "z a b c e", 2: "y"})
	fs := orderOf(t, ref, target)
	require.Len(t, fs, 3)
	require.Equal(t, "z a b c e d", names(fs[0].calls))
	require.Equal(t, []int{0, 2, 3}, []int{fs[0].number, fs[1].number, fs[2].number})
	require.Nil(t, fs[0].calls[0].ref)
	require.Nil(t, fs[0].calls[5].target)
}

// The tree of calls: by name, and by the caller for the rope that all layers
// share.
func TestTree(t *testing.T) {
	s := session(map[int]string{0: `model.embed_tokens
		model.layers.0 model.layers.0.self_attn model.layers.0.self_attn.qkv_proj model.layers.0.self_attn.rotary_emb model.layers.0.self_attn.attn model.layers.0.mlp
		model.layers.1 model.layers.1.self_attn model.layers.1.self_attn.qkv_proj model.layers.0.self_attn.rotary_emb_call1 model.layers.1.self_attn.attn model.layers.1.mlp
		model.norm`})
	f := orderOf(t, s, s)[0]
	require.Equal(t, "model.embed_tokens model.layers.0 model.layers.1 model.norm", names(f.top))
	for _, layer := range f.top[1:3] {
		require.Equal(t, layer.module+".self_attn "+layer.module+".mlp", names(layer.children))
	}
	require.Equal(t, "model.layers.1.self_attn.qkv_proj model.layers.0.self_attn.rotary_emb_1 model.layers.1.self_attn.attn", names(f.top[2].children[0].children))
	require.Equal(t, 1, f.top[2].children[0].children[1].layer)
	require.Equal(t, -1, f.top[3].layer)

	var visited []string
	walk(f.top[1:2], func(c *call) { visited = append(visited, "<"+topology.LastWord(c.module)) }, func(c *call) { visited = append(visited, topology.LastWord(c.module)+">") })
	require.Equal(t, "<0 <self_attn <qkv_proj qkv_proj> <rotary_emb rotary_emb> <attn attn> self_attn> <mlp mlp> 0>", strings.Join(visited, " "))
}

// Without its callers the shared rope's call index tells the layer; a pipeline
// stage registers it under its own first layer.
func TestLayerOfRope(t *testing.T) {
	s := session(map[int]string{0: "model.layers.16.self_attn.rotary_emb model.layers.16.self_attn.rotary_emb_call2 model.layers.17.mlp.act_fn"})
	f := orderOf(t, s, s)[0]
	require.Equal(t, []int{16, 18, 17}, []int{f.calls[0].layer, f.calls[1].layer, f.calls[2].layer})
	require.Len(t, f.top, 3)
}

func TestParseSteps(t *testing.T) {
	got, err := ParseSteps("0, 2-4,7")
	require.NoError(t, err)
	require.Equal(t, []StepRange{{0, 0}, {2, 4}, {7, 7}}, got)
	for _, bad := range []string{"", "a", "1,", "-1", "3-2", "1-2-3", "1.5", "99999999999"} {
		_, err := ParseSteps(bad)
		require.ErrorContains(t, err, "is neither a step number nor a range; write for example 0,2-4", bad)
	}
}

func TestFormatSteps(t *testing.T) {
	for want, n := range map[string][]int{"no steps": nil, "step 3": {3}, "steps 0-2, 5, 7-8": {0, 1, 2, 5, 7, 8}} {
		require.Equal(t, want, formatSteps(n))
	}
}

func TestComparePaths(t *testing.T) {
	for _, p := range [][2]string{{"0", "1"}, {"2", "10"}, {"0", "0_1"}, {"1_2", "1_10"}, {"", "0"}, {"a", "b"}} {
		require.Negative(t, comparePaths(p[0], p[1]), p)
		require.Positive(t, comparePaths(p[1], p[0]), p)
	}
}

func TestSelectionErrors(t *testing.T) {
	s := session(map[int]string{0: "a b", 1: "a"})
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Steps: []StepRange{{0, 0}, {5, 9}}}, "step 5-9 is in neither session: the reference holds steps 0-1, the target steps 0-1"},
		{Options{Modules: []string{"a", "zzz"}}, `module pattern "zzz" matches none of the 2 modules of the two sessions`},
		{Options{Modules: []string{"("}}, `module pattern "(": missing ), unterminated subpattern at position 0`},
		{Options{Modules: []string{"(a?b?)*(a?b?)*(a?b?)*(a?b?)*(a?b?)*$(?<=x)y"}}, ""},
	} {
		_, err := Sessions(s, s, c.o)
		require.Error(t, err)
		if c.want != "" {
			require.EqualError(t, err, c.want)
		}
	}
}

func TestSelected(t *testing.T) {
	good := open(t, base)
	r := run(t, good, good, Options{Steps: []StepRange{{1, 2}}, Modules: []string{`layers\.1\.(?!mlp)`, "^logits"}})
	require.Equal(t, Pass, r.Verdict)
	seen := map[string]bool{}
	for _, m := range r.Modules {
		require.Contains(t, []int{1, 2}, m.Step)
		seen[m.Module] = true
	}
	require.Len(t, seen, 7) // six of layer 1 without its mlp and the rope that is shared under layer 0, and logits
	require.True(t, seen["logits_processor"])
	require.Equal(t, 100.0, r.Coverage.Percent())
}

func FuzzParseSteps(f *testing.F) {
	for _, s := range []string{"0,2-4", "", "-", "7-7", " 1", "1,,2", "2-1", "99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ranges, err := ParseSteps(s)
		if err != nil {
			require.Empty(t, ranges)
			return
		}
		require.NotEmpty(t, ranges)
		for _, r := range ranges {
			require.GreaterOrEqual(t, r.First, 0)
			require.LessOrEqual(t, r.First, r.Last)
		}
	})
}
