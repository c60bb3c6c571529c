package shard

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/fixture"
)

func open(t *testing.T, dir string) *il.Session {
	t.Helper()
	s, err := il.Open(dir)
	require.NoError(t, err)
	return s
}

func TestParse(t *testing.T) {
	p, err := Parse("2/7")
	require.NoError(t, err)
	require.Equal(t, Part{2, 7}, p)
	require.Equal(t, "part 2 of 7", p.String())
	for _, s := range []string{"", "1", "0/1", "2/1", "-1/2", "1/2/3", "1 /2", "+1/2", "1/65537", "a/b", "1/99999999999999999999"} {
		_, err := Parse(s)
		require.EqualError(t, err, fmt.Sprintf("%q: want i/n with i from 1 to n, as in 2/7, and n at most 65536", s))
	}
}

// Every call is in one part, of about as many bytes, and what a second session
// has moves nothing of the first.
func TestAssign(t *testing.T) {
	s, other := open(t, fixture.Session(t, "llama3-gqa-bf16")), open(t, fixture.Session(t, "llama3-gqa-hf-bf16"))
	weights := weigh(s)
	for _, n := range []int{1, 2, 3, 7, 100} {
		loads, owners := make([]int64, n), map[Unit]int{}
		for i := range n {
			alone, both := Assign(Part{i + 1, n}, s), Assign(Part{i + 1, n}, s, other)
			for u, w := range weights {
				require.Equal(t, alone.Own(u.Module, u.Call), both.Own(u.Module, u.Call))
				if both.Own(u.Module, u.Call) {
					loads[i] += w
					owners[u]++
				}
			}
			for u := range weigh(other) {
				if both.Own(u.Module, u.Call) {
					owners[u]++
				}
			}
		}
		for u, n := range owners {
			if _, shared := weigh(other)[u]; !shared || weights[u] == 0 {
				require.Equal(t, 1, n, u)
			}
		}
		require.Equal(t, len(owners), len(union(weights, weigh(other))))
		if n <= 7 { // no part has more than its share and one call
			total := int64(0)
			for _, l := range loads {
				total += l
			}
			require.LessOrEqual(t, slices.Max(loads), total/int64(n)+slices.Max(slices.Collect(maps.Values(weights))))
		}
	}
}

func union(a, b map[Unit]int64) map[Unit]bool {
	out := map[Unit]bool{}
	for _, m := range []map[Unit]int64{a, b} {
		for u := range m {
			out[u] = true
		}
	}
	return out
}

// A copy is the same recording; one value, one file, one name more is not.
func TestFingerprint(t *testing.T) {
	from := fixture.Session(t, "llama3-gqa-bf16")
	want := open(t, from).Fingerprint()
	const file = "step_1/model.norm/outputs_0_cuda_0.pt"
	for name, edit := range map[string]func(dir string) error{
		"": func(string) error { return nil },
		"a value": func(dir string) error { // of the same size
			b, err := os.ReadFile(filepath.Join(fixture.Session(t, "llama3-gqa-bf16-splitk"), file))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, file), b, 0o666)
		},
		"a file":  func(dir string) error { return os.Remove(filepath.Join(dir, file)) },
		"no file": func(dir string) error { return os.WriteFile(filepath.Join(dir, file), nil, 0o666) },
		"a name": func(dir string) error {
			return os.Rename(filepath.Join(dir, file), filepath.Join(dir, "step_1/model.norm/outputs_7_cuda_0.pt"))
		},
	} {
		dir := filepath.Join(t.TempDir(), "copy")
		require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
		require.NoError(t, edit(dir))
		if got := open(t, dir).Fingerprint(); name == "" {
			require.Equal(t, want, got)
		} else {
			require.NotEqual(t, want, got, name)
		}
	}
}

// Parts are put together in the order of the session they are of, and a part
// that is given twice is refused.
func TestJoin(t *testing.T) {
	s := open(t, fixture.Session(t, "llama3-gqa-bf16"))
	parts := make([]*il.Session, 3)
	for i := range parts {
		u := Assign(Part{i + 1, 3}, s)
		var steps []*il.Step
		for _, st := range s.Steps {
			out := &il.Step{Number: st.Number}
			for k := len(st.Calls) - 1; k >= 0; k-- {
				c := *st.Calls[k]
				if !u.Own(c.Module, c.Index) {
					if c.Module != "model.embed_tokens" {
						continue
					}
					c.Slots = c.Slots[:1] // the token ids
				}
				out.Calls = append(out.Calls, &c)
			}
			steps = append(steps, out)
		}
		parts[i] = il.NewSession(fmt.Sprint("part", i), il.VariantA, steps)
	}
	joined, err := Join("whole", s, parts)
	require.NoError(t, err)
	require.Equal(t, len(s.Steps), len(joined.Steps))
	for i, st := range s.Steps {
		require.Equal(t, st.Number, joined.Steps[i].Number)
		for k, c := range st.Calls {
			got := joined.Steps[i].Calls[k]
			require.Equal(t, c.Module, got.Module)
			require.ElementsMatch(t, c.Slots, got.Slots)
		}
	}
	_, err = Join("whole", s, []*il.Session{parts[0], parts[1], parts[0]})
	require.ErrorContains(t, err, "both hold what a call returned: give each part once")
}
