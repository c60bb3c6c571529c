package comparetest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/internal/fixture"
)

// recorder keeps what a test would have failed with.
type recorder struct {
	testing.TB
	text string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatal(a ...any) { r.Fatalf("%s", fmt.Sprint(a...)) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.text = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure runs f and gives the text it fails with, "" for none.
func failure(t *testing.T, f func(testing.TB)) string {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r.text
}

func TestRequireClose(t *testing.T) {
	good, noise := fixture.Session(t, "llama3-gqa-bf16"), fixture.Session(t, "llama3-gqa-bf16-splitk")
	fault, some := fixture.Session(t, "llama3-gqa-bf16-fault-row_scale"), fixture.Session(t, "llama3-gqa-bf16-filtered")
	require.Empty(t, failure(t, func(t testing.TB) { RequireClose(t, good, noise) }))
	require.Contains(t, failure(t, func(t testing.TB) { RequireClose(t, good, fault) }), "First divergence: step 0, model.layers.0.self_attn.o_proj, output 0")
	require.Contains(t, failure(t, func(t testing.TB) { RequireClose(t, good, some) }), "Verdict: INCOMPARABLE")
	require.Contains(t, failure(t, func(t testing.TB) { RequireClose(t, "no/such", good) }), "reference: ")
	require.Contains(t, failure(t, func(t testing.TB) { RequireClose(t, good, "no/such") }), "target: ")
	require.Contains(t, failure(t, func(t testing.TB) {
		RequireClose(t, good, noise, func(o *compare.Options) { o.Modules = []string{"nothing"} })
	}), `module pattern "nothing" matches none`)
	wide := filepath.Join(t.TempDir(), "wide.yaml")
	require.NoError(t, os.WriteFile(wide, []byte("version: 1\nrules:\n  - max_rel_l2: 0.05\n"), 0o600))
	require.Empty(t, failure(t, func(t testing.TB) { RequireClose(t, good, fault, Policy(t, wide)) }))
	require.Contains(t, failure(t, func(t testing.TB) { Policy(t, "absent.yaml") }), "policy: open absent.yaml")
}
