package il

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
)

// A session that follows from another says so from its first moment on, and
// readers take no notice of the file.
func TestProvenance(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Status
	}{{nil, Complete}, {errors.New("the run failed"), Failed}} {
		cfg := DefaultConfig()
		cfg.OutputDir = t.TempDir()
		made := Derived{What: Replay, Session: "00ff", Checkpoint: "11", DType: "bfloat16", Rounding: "vllm-2025"}
		l, err := NewLogger(cfg, LoggerOptions{SessionID: "s", Derived: made, Writer: Writer{Name: "test", Version: "1"}})
		require.NoError(t, err)
		status := func() Status {
			p, err := (&Session{Dir: l.Dir()}).Provenance()
			require.NoError(t, err)
			require.Equal(t, made, p.Derived)
			require.Equal(t, Writer{"test", "1"}, p.Writer)
			return p.Status
		}
		require.Equal(t, Recording, status())
		l.Pre("model.norm", Tuple{nil})
		require.ErrorIs(t, l.Finish(c.err), c.err)
		require.Equal(t, c.want, status())
		s, err := Open(l.Dir())
		require.NoError(t, err)
		require.Empty(t, s.Warnings)
	}
}

// A fingerprint is that of the tensors, wherever they lie; any changed value shows.
func TestFingerprint(t *testing.T) {
	print := func(dir string) string {
		s, err := Open(dir)
		require.NoError(t, err)
		return s.Fingerprint()
	}
	dir := fixture.Session(t, "llama3-gqa-bf16")
	before := print(dir)
	copied := filepath.Join(t.TempDir(), "elsewhere")
	require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
	require.Equal(t, before, print(copied))
	require.NotEqual(t, before, print(fixture.Session(t, "llama3-gqa-bf16-fault-row_scale")))
	file := filepath.Join(copied, "step_1", "model.norm", "outputs_0_cuda_0.pt")
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	b[len(b)-1] ^= 1
	require.NoError(t, os.WriteFile(file, b, 0o666))
	require.NotEqual(t, before, print(copied))
}

func FuzzProvenance(f *testing.F) {
	f.Add([]byte(`{"schema":"il.session.v1","derived":{"what":"replay","session":"00"}}`))
	f.Add([]byte(`{"schema":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &Session{Dir: t.TempDir()}
		require.NoError(t, os.WriteFile(filepath.Join(s.Dir, provenanceFile), data, 0o666))
		if p, err := s.Provenance(); err == nil {
			require.Equal(t, ProvenanceSchema, p.Schema)
		}
	})
}
