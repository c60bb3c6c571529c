package foreign_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/foreign"
	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/internal/fixture"
)

// dumps are those of testdata, and what each can be held against: the session that
// it was made from, of which it has the first two forwards.
var dumps = []struct {
	name, session string
	compared      int // tensors that both hold
	apart         int // that one side has no place for
}{
	{"dumper-sglang", "llama3-gqa-bf16-chunk4", 220, 6},
	{"dumper-vllm", "llama3-gqa-bf16-chunk4", 220, 6},
	{"dumper-tp2", "llama3-gqa-bf16-tp2", 110, 3},
	{"pass", "llama3-gqa-bf16-chunk4", 69, 151},
	{"msprobe", "llama3-gqa-bf16-chunk4", 220, 12},
	{"neuron", "llama3-gqa-bf16-chunk4", 74, 146},
	{"hidden", "llama3-gqa-bf16", 6, 324},
}

// recorded is the session that a dump was made from, without what the dump does
// not hold: forwards behind its last.
func recorded(t *testing.T, name string) string {
	dir := fixture.Session(t, name)
	first, last := 0, 1
	switch name {
	case "llama3-gqa-bf16":
		return dir
	case "llama3-gqa-bf16-tp2":
		first = 1
	}
	steps, err := filepath.Glob(filepath.Join(dir, "step_*"))
	require.NoError(t, err)
	for _, step := range steps {
		var n int
		_, err := fmt.Sscanf(filepath.Base(step), "step_%d", &n)
		require.NoError(t, err)
		if n < first || n > last+1 {
			require.NoError(t, os.RemoveAll(step))
		}
		if n == first && n > 0 {
			require.NoError(t, os.RemoveAll(filepath.Join(step, "logits_processor")))
			keepLines(t, step, func(line string) bool { return line != "logits_processor" })
		}
		if n == last+1 {
			modules, err := filepath.Glob(filepath.Join(step, "model*"))
			require.NoError(t, err)
			for _, m := range modules {
				if filepath.Base(m) != "module_calls.txt" {
					require.NoError(t, os.RemoveAll(m))
				}
			}
			keepLines(t, step, func(line string) bool { return line == "logits_processor" })
		}
	}
	return dir
}

func keepLines(t *testing.T, step string, keep func(string) bool) {
	path := filepath.Join(step, "module_calls.txt")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var out []string
	for _, line := range strings.Fields(string(b)) {
		if keep(line) {
			out = append(out, line)
		}
	}
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(out, "\n")+"\n"), 0o644))
}

func open(t *testing.T, dir string) *il.Session {
	t.Helper()
	s, err := foreign.Open(dir)
	require.NoError(t, err)
	return s
}

func diff(t *testing.T, ref, target *il.Session) *report.Report {
	t.Helper()
	r, err := compare.Sessions(ref, target, compare.Options{})
	require.NoError(t, err)
	return r
}

// equal requires that two sessions hold the same, to the bit, and all of it.
func equal(t *testing.T, ref, target *il.Session) *report.Report {
	t.Helper()
	r := diff(t, ref, target)
	require.Equal(t, report.Pass, r.Verdict, "%v %v", r.Coverage, r.Warnings)
	for _, x := range r.Tensors {
		require.True(t, x.Gap.Identical(), x.Key.String())
	}
	require.Empty(t, r.Coverage.MissingInReference)
	require.Empty(t, r.Coverage.MissingInTarget)
	require.Empty(t, r.Coverage.Unreadable)
	return r
}

// A dump holds what the session it was made from does: every tensor that its form
// has a place for, on either side, and through a session that it is converted to.
func TestAgainstSession(t *testing.T) {
	for _, d := range dumps {
		t.Run(d.name, func(t *testing.T) {
			session, dump := open(t, recorded(t, d.session)), open(t, fixture.Dump(t, d.name))
			r := equal(t, session, dump)
			require.Equal(t, d.compared, r.Coverage.Compared)
			require.Equal(t, d.apart, r.Coverage.NoPartner)
			require.Equal(t, d.compared, equal(t, dump, session).Coverage.Compared)

			to := filepath.Join(t.TempDir(), "a", "session")
			require.NoError(t, dump.Write(context.Background(), to, provenance.Writer{Name: "test"}, nil))
			converted, err := il.Open(to)
			require.NoError(t, err)
			require.Equal(t, dump.Lacks(), converted.Lacks())
			require.Equal(t, dump.Warnings[:1], converted.Warnings)
			require.Equal(t, d.compared, equal(t, session, converted).Coverage.Compared)
			require.GreaterOrEqual(t, equal(t, dump, converted).Coverage.Compared, d.compared)
		})
	}
}

// Dumps of different tools compare with each other.
func TestMixedPairs(t *testing.T) {
	var sessions []*il.Session
	var names []string
	for _, d := range dumps {
		if d.session == "llama3-gqa-bf16-chunk4" {
			sessions, names = append(sessions, open(t, fixture.Dump(t, d.name))), append(names, d.name)
		}
	}
	for i, a := range sessions {
		for j, b := range sessions {
			t.Run(names[i]+" "+names[j], func(t *testing.T) {
				require.GreaterOrEqual(t, equal(t, a, b).Coverage.Compared, 55)
			})
		}
	}
}

// A fault is found through a dump, at its module.
func TestFault(t *testing.T) {
	faulty := open(t, fixture.Session(t, "llama3-gqa-bf16-fault-row_scale"))
	for _, name := range []string{"dumper-sglang", "pass", "msprobe"} {
		r := diff(t, open(t, fixture.Dump(t, name)), faulty)
		require.Equal(t, report.Fail, r.Verdict, name)
		require.Equal(t, "step_0/model.layers.0.self_attn.o_proj/outputs_0", r.FirstDivergence.String(), name)
	}
	r := diff(t, open(t, fixture.Dump(t, "hidden")), faulty)
	require.Equal(t, report.Fail, r.Verdict)
	require.Equal(t, "model.layers.1.input_layernorm", r.FirstDivergence.Module)
}

// What is compared of statistics alone is nothing, and said.
func TestStatistics(t *testing.T) {
	s := open(t, fixture.Dump(t, "msprobe-statistics"))
	r := diff(t, open(t, fixture.Dump(t, "msprobe")), s)
	require.Equal(t, report.Incomparable, r.Verdict)
	require.Zero(t, r.Coverage.Compared)
	require.Len(t, r.Coverage.Skipped, 232)
	slot := s.Call(0, "model.layers.1.mlp.act_fn", 0).Slot(il.Outputs, "")
	require.Equal(t, "bfloat16", slot.Stub.DType.String())
	require.Equal(t, []int{4, 176}, slot.Stub.Shape)
	require.Equal(t, 4*176, slot.Stub.Numel)

	to := filepath.Join(t.TempDir(), "session")
	require.NoError(t, s.Write(context.Background(), to, provenance.Writer{Name: "test"}, nil))
	converted, err := il.Open(to)
	require.NoError(t, err)
	require.Equal(t, slot.Stub, converted.Call(0, "model.layers.1.mlp.act_fn", 0).Slot(il.Outputs, "").Stub)
	v, err := converted.Call(0, "model.layers.1.input_layernorm", 0).Values(il.Outputs)
	require.NoError(t, err)
	require.Len(t, v, 2)
}

// shape lists the calls of a session in order, with their slots, keywords apart.
func shape(s *il.Session) []string {
	var out []string
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			line := fmt.Sprintf("%d %s", st.Number, il.CallName(c.Module, c.Index))
			for _, x := range c.Slots {
				if x.Path == "" || x.Path[0] <= '9' {
					line += fmt.Sprintf(" %s_%s:%d", x.Direction, x.Path, len(x.Tensors))
				}
			}
			out = append(out, line)
		}
	}
	return out
}

// Calls, their order and their slots are those of vLLM's logger.
func TestShape(t *testing.T) {
	session := open(t, recorded(t, "llama3-gqa-bf16-chunk4"))
	for _, name := range []string{"dumper-sglang", "dumper-vllm", "msprobe"} {
		require.Equal(t, shape(session), shape(open(t, fixture.Dump(t, name))), name)
	}
	require.Equal(t, []string{
		"0 model.embed_tokens inputs_0:1 outputs_:1", "0 model.layers.0 inputs_0:1", "0 model.layers.0.input_layernorm outputs_:1", "0 model.layers.0.self_attn.qkv_proj outputs_0:1",
	}, shape(open(t, fixture.Dump(t, "pass")))[:4])
	require.Equal(t, []string{
		"0 model.embed_tokens inputs_0:1 outputs_:1", "0 model.layers.0 inputs_0:1", "0 model.layers.1.input_layernorm outputs_1:1", "0 model.layers.2.input_layernorm outputs_1:1", "0 model.norm outputs_1:1",
	}, shape(open(t, fixture.Dump(t, "hidden"))))
	require.Equal(t, []string{"0 model.embed_tokens outputs_:1", "0 model.layers.0 inputs_0:1 outputs_:1"}, shape(open(t, fixture.Dump(t, "neuron")))[:2])
	tp2 := shape(open(t, fixture.Dump(t, "dumper-tp2")))
	require.Equal(t, "0 model.layers.0.self_attn.qkv_proj inputs_0:2 outputs_0:2", tp2[4])
	require.Equal(t, "1 logits_processor inputs_1:2 outputs_:2", tp2[38])
}
