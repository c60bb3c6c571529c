package il

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/internal/fixture"
)

// A session says how it is made from its first moment on, and how the recording ended.
func TestProvenance(t *testing.T) {
	for _, c := range []struct {
		err  error
		want provenance.Status
	}{
		{nil, provenance.Complete},
		{errors.New("the run failed"), provenance.Failed},
		{fmt.Errorf("stopped: %w", context.Canceled), provenance.Stopped},
	} {
		cfg := DefaultConfig()
		cfg.OutputDir = t.TempDir()
		made := &provenance.Record{
			Writer:  provenance.Writer{Name: "test", Version: "1"},
			Derived: provenance.Derived{What: provenance.Replay, Session: "00ff", Checkpoint: "11", DType: "bfloat16", Rounding: "vllm-2025"},
		}
		l, err := NewLogger(cfg, LoggerOptions{SessionID: "s", DeviceLabel: "cuda:1", Provenance: made})
		require.NoError(t, err)
		read := func() *provenance.Record {
			p, warnings, err := provenance.Read(l.Dir())
			require.NoError(t, err)
			require.Empty(t, warnings)
			require.Equal(t, made.Derived, p.Derived)
			require.Equal(t, made.Writer, p.Writer)
			return p
		}
		p := read()
		require.Equal(t, provenance.Recording, p.Status)
		require.Equal(t, []provenance.Rank{{Label: "cuda:1"}}, p.Parallel.Ranks)
		again, err := ParseConfig("config", p.Config)
		require.NoError(t, err)
		require.Equal(t, cfg.LogStepIDs, again.LogStepIDs)
		l.Batch(provenance.Batch{Forward: 7, ReqIDs: []string{"a"}, NumTokens: []int{3}, NumComputed: []int{0}, PaddedTokens: 4})
		l.Pre("model.norm", Tuple{nil})
		require.NoError(t, l.StepDone())
		l.Batch(provenance.Batch{Forward: 8, ReqIDs: []string{"a"}, NumTokens: []int{1}, NumComputed: []int{3}}) // of a step that is not logged
		require.ErrorIs(t, l.Finish(c.err), c.err)
		p = read()
		require.Equal(t, c.want, p.Status)
		require.Equal(t, c.err != nil, p.Reason != "")
		require.Equal(t, []provenance.Step{{Step: 0, Forward: 7, Tokens: 3, PaddedTokens: 4, Requests: 1}}, p.Steps)
		s, err := Open(l.Dir())
		require.NoError(t, err)
		require.Empty(t, s.Warnings)
		require.Equal(t, p, s.Provenance())
		require.Equal(t, []string{"a"}, s.Batch(0).ReqIDs)
		require.Nil(t, s.Batch(1))
		require.Equal(t, c.err == nil, s.Unfinished() == "")
	}
}

// What is wrong with session.json and batches.jsonl costs a warning each, and the
// session is read.
func TestBrokenProvenance(t *testing.T) {
	for _, c := range []struct{ name, record, batches, want string }{
		{"none", "", "", ""},
		{"not JSON", "{", "", "session.json: the JSON ends too early: the run that wrote it died, or its disk was full: ignored"},
		{"not UTF-8", "{\"schema\": \"\xff\"}", "", "session.json: is not UTF-8: ignored"},
		{"a list", "[]", "", "session.json: expected a JSON object, found a list: ignored"},
		{"another schema", `{"schema": "il.session.v2"}`, "", `session.json: schema "il.session.v2", expected "il.session.v1": ignored`},
		{"too large", `{"schema": "` + strings.Repeat("x", 1<<20) + `"}`, "", "session.json has 1048590 bytes, expected at most 1048576: ignored"},
		{"deep", `{"schema": "il.session.v1", "x": ` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + `}`, "", "session.json: invalid JSON at byte"},
		{"another type", `{"schema": "il.session.v1", "engine": {"name": 7, "version": "1"}}`, "", "session.json: /engine/name: expected a string, found the number 7: ignored"},
		{"no batch", "", "{}\n", "batches.jsonl: line 1: names no step: ignored"},
		{"a lie about sizes", "", `{"step": 0, "req_ids": ["a"], "num_tokens": [1000000000000], "num_computed": [0]}` + "\n", "batches.jsonl: line 1: request 0 has 1000000000000 tokens after 0: ignored"},
		{"an unfinished line", "", `{"step": 0, "req_ids": [`, "batches.jsonl: line 1: ends too early: the run that wrote it is still going, or died: ignored"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, "m\n", dir, "step_0", callsFile)
			write(t, "{}", dir, "step_0", "m", "inputs.json")
			if c.record != "" {
				write(t, c.record, dir, provenance.FileName)
			}
			if c.batches != "" {
				write(t, c.batches, dir, provenance.BatchesName)
			}
			s, err := Open(dir)
			require.NoError(t, err)
			require.Len(t, s.Steps, 1)
			if c.want == "" {
				require.Empty(t, s.Warnings)
				return
			}
			require.Len(t, s.Warnings, 1)
			require.Contains(t, s.Warnings[0], c.want)
			require.Less(t, len(s.Warnings[0]), 400)
		})
	}
}

// A link out of the session is not followed, and a session without steps says why.
func TestProvenanceOfNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, "m\n", dir, "s", "step_0", callsFile)
	write(t, `{"schema": "il.session.v1"}`, dir, "elsewhere")
	require.NoError(t, os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "s", provenance.FileName)))
	s, err := Open(filepath.Join(dir, "s"))
	require.NoError(t, err)
	require.Nil(t, s.Provenance())
	require.Contains(t, strings.Join(s.Warnings, "\n"), "session.json is a link out of the session")

	write(t, `{"schema": "il.session.v1", "status": "failed", "reason": "nothing captured:\n compiled"}`, dir, "empty", provenance.FileName)
	_, err = Open(filepath.Join(dir, "empty"))
	require.EqualError(t, err, filepath.Join(dir, "empty")+" holds no step: its session.json says that the recording is failed: nothing captured: compiled")
}

// The place of the logits is what the session says, unless the order of its calls
// contradicts it.
func TestLogitsLag(t *testing.T) {
	for _, c := range []struct {
		says, calls string
		want        int
		warned      bool
	}{
		{`{}`, "model.embed_tokens\nlogits_processor\n", 1, false},
		{`{"logits_lag": 0}`, "model.embed_tokens\nlogits_processor\n", 0, false},
		{`{"logits_lag": 1}`, "logits_processor\nmodel.embed_tokens\n", 1, false},
		{`{"logits_lag": 0}`, "logits_processor\nmodel.embed_tokens\n", 1, true},
		{`{"logits_lag": 1}`, "model.embed_tokens\nlogits_processor\n", 1, true},
		{`{"logits_lag": 2}`, "model.embed_tokens\nlogits_processor\n", 1, true},
	} {
		dir := t.TempDir()
		write(t, c.calls, dir, "step_0", callsFile)
		for _, m := range []string{"model.embed_tokens", "logits_processor"} {
			write(t, "{}", dir, "step_0", m, "inputs.json")
		}
		write(t, `{"schema": "il.session.v1", "run": `+c.says+`}`, dir, provenance.FileName)
		s, err := Open(dir)
		require.NoError(t, err)
		require.Equal(t, c.want, s.LogitsLag(), c)
		require.Equal(t, c.warned, len(s.Warnings) > 0, "%s: %v", c, s.Warnings)
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
