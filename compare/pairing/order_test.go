package pairing

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/report"
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

func orderOf(t *testing.T, ref, target *il.Session) []*Forward {
	t.Helper()
	sel, err := NewSelection(ref, target, nil, nil, false)
	require.NoError(t, err)
	return Order(ref, target, sel)
}

func names(cs []*Call) string {
	out := make([]string, len(cs))
	for i, c := range cs {
		out[i] = il.CallName(c.Module, c.Index)
	}
	return strings.Join(out, " ")
}

// The logits of step n+1 are the last of forward n; the very last step holds
// nothing else.
func TestLogitsBelongToTheForwardBefore(t *testing.T) {
	s := session(map[int]string{0: "a b", 1: "logits_processor a b", 2: "logits_processor logits_processor_call1"})
	fs := orderOf(t, s, s)
	require.Len(t, fs, 2)
	require.Equal(t, "a b logits_processor", names(fs[0].Calls))
	require.Equal(t, "a b logits_processor logits_processor_1", names(fs[1].Calls))
	require.Equal(t, 1, fs[0].Calls[2].Step)
}

// Calls of one session only stand where they ran.
func TestMergedOrder(t *testing.T) {
	ref := session(map[int]string{0: "a c d", 3: "x"})
	target := session(map[int]string{0: "z a b c e", 2: "y"})
	fs := orderOf(t, ref, target)
	require.Len(t, fs, 3)
	require.Equal(t, "z a b c e d", names(fs[0].Calls))
	require.Equal(t, []int{0, 2, 3}, []int{fs[0].Number, fs[1].Number, fs[2].Number})
	require.Nil(t, fs[0].Calls[0].Ref)
	require.Nil(t, fs[0].Calls[5].Target)
}

// The tree of calls: by name, and by the caller for the rope that all layers
// share.
func TestTree(t *testing.T) {
	s := session(map[int]string{0: `model.embed_tokens
		model.layers.0 model.layers.0.self_attn model.layers.0.self_attn.qkv_proj model.layers.0.self_attn.rotary_emb model.layers.0.self_attn.attn model.layers.0.mlp
		model.layers.1 model.layers.1.self_attn model.layers.1.self_attn.qkv_proj model.layers.0.self_attn.rotary_emb_call1 model.layers.1.self_attn.attn model.layers.1.mlp
		model.norm`})
	f := orderOf(t, s, s)[0]
	require.Equal(t, "model.embed_tokens model.layers.0 model.layers.1 model.norm", names(f.Top))
	for _, layer := range f.Top[1:3] {
		require.Equal(t, layer.Module+".self_attn "+layer.Module+".mlp", names(layer.Children))
	}
	require.Equal(t, "model.layers.1.self_attn.qkv_proj model.layers.0.self_attn.rotary_emb_1 model.layers.1.self_attn.attn", names(f.Top[2].Children[0].Children))
	require.Equal(t, 1, f.Top[2].Children[0].Children[1].Layer)
	require.Equal(t, -1, f.Top[3].Layer)

	var visited []string
	Walk(f.Top[1:2], func(c *Call) { visited = append(visited, "<"+topology.LastWord(c.Module)) }, func(c *Call) { visited = append(visited, topology.LastWord(c.Module)+">") })
	require.Equal(t, "<0 <self_attn <qkv_proj qkv_proj> <rotary_emb rotary_emb> <attn attn> self_attn> <mlp mlp> 0>", strings.Join(visited, " "))
}

// Without its callers the shared rope's call index tells the layer; a pipeline
// stage registers it under its own first layer.
func TestLayerOfRope(t *testing.T) {
	s := session(map[int]string{0: "model.layers.16.self_attn.rotary_emb model.layers.16.self_attn.rotary_emb_call2 model.layers.17.mlp.act_fn"})
	f := orderOf(t, s, s)[0]
	require.Equal(t, []int{16, 18, 17}, []int{f.Calls[0].Layer, f.Calls[1].Layer, f.Calls[2].Layer})
	require.Len(t, f.Top, 3)
}

func TestComparePaths(t *testing.T) {
	for _, p := range [][2]string{{"0", "1"}, {"2", "10"}, {"0", "0_1"}, {"1_2", "1_10"}, {"", "0"}, {"a", "b"}} {
		require.Negative(t, comparePaths(p[0], p[1]), p)
		require.Positive(t, comparePaths(p[1], p[0]), p)
	}
}

func FuzzParseSteps(f *testing.F) {
	for _, s := range []string{"0,2-4", "", "-", "7-7", " 1", "1,,2", "2-1", "99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ranges, err := report.ParseSteps(s)
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
