package lint

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
)

// Sessions of other models, that hooks in transformers 5.12 wrote: other
// names, a batch dimension, padding on the left, and Gemma's further norms.
func TestTransformersSessionsAreClean(t *testing.T) {
	for name, identities := range map[string]int{"gemma2-float32": 93, "llama-bfloat16": 102} {
		z, err := zip.OpenReader("testdata/hf-" + name + ".zip")
		require.NoError(t, err)
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(dir, z))
		require.NoError(t, z.Close())
		e := edit{t, filepath.Join(dir, name)}
		r := e.want(true)
		require.Equal(t, identities, r.Checked.Identities, name)

		e.values("step_0/model.layers.1.self_attn.o_proj/outputs_cpu.pt", scaled(2))
		e.want(true, wanted{Error, "broken-identity", 0, "model.layers.1.self_attn outputs_0", "must be model.layers.1.self_attn.o_proj outputs to the bit"})
	}
}

func TestNoValues(t *testing.T) {
	e := copyOf(t, plain)
	e.values("step_0/model.layers.1/inputs_1_cuda_0.pt", scaled(2))
	e.copy("step_1/model.layers.1.mlp.act_fn/inputs.json", "step_0/model.layers.1.mlp.act_fn/inputs.json")
	s, err := il.Open(e.dir)
	require.NoError(t, err)
	r, err := Session(context.Background(), s, Options{NoValues: true})
	require.NoError(t, err)
	require.Zero(t, r.Checked.Bytes)
	require.Len(t, r.Findings, 1)
	require.Equal(t, "side-file-mismatch", r.Findings[0].Rule)
}

func TestCancelled(t *testing.T) {
	s, err := il.Open(sessions.Session(t, plain))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Session(ctx, s, Options{})
	require.ErrorIs(t, err, context.Canceled)
}

// spoiled has findings of every severity, in several steps.
func spoiled(t *testing.T) edit {
	e := copyOf(t, plain)
	for _, s := range []string{"step_0", "step_2"} {
		e.values(s+"/model.layers.1.mlp.act_fn/outputs_cuda_0.pt", scaled(2))
	}
	e.remove("step_0/model.layers.0.mlp", "step_1/model.norm/outputs_1_cuda_0.pt")
	e.write("notes.txt", "")
	return e
}

func TestOutputs(t *testing.T) {
	e := spoiled(t)
	r := run(t, e.dir)
	var a, b bytes.Buffer
	require.NoError(t, WriteText(&a, r, false))
	require.NoError(t, WriteText(&b, run(t, e.dir), false))
	require.Equal(t, a.String(), b.String())
	lines := strings.Split(strings.TrimSuffix(a.String(), "\n"), "\n")
	require.Equal(t, e.dir+": 4 steps, 117 module calls, 327 tensors read (212.9 KiB), 200 identities checked", lines[0])
	require.Regexp(t, `^severity +step +rule +finding$`, lines[2])
	require.Regexp(t, `^error +0 +broken-identity +model\.layers\.1\.mlp\.down_proj inputs_0 must be .* \(again in step 2\)$`, lines[3])
	require.Regexp(t, `^error +1 +missing-tensor +model\.norm outputs_1: outputs\.json lists bfloat16\[1,64\]`, lines[4])
	require.Regexp(t, `^warning +0 +call-without-directory +model\.layers\.0\.mlp is listed`, lines[5])
	require.Regexp(t, `^info +- +foreign-files .*notes\.txt$`, lines[6])
	require.Equal(t, "2 errors, 1 warning", lines[8])

	require.Equal(t, []string{
		e.dir + ": the recording has 2 errors, 1 warning (ildiff lint lists them)",
		"error: step 0: " + r.Findings[0].Message, "error: step 1: " + r.Findings[1].Message, "warning: step 0: " + r.Findings[2].Message,
	}, Summary(r))

	a.Reset()
	require.NoError(t, WriteJSON(&a, r))
	var j struct {
		Schema, Session  string
		Errors, Warnings int
		Findings         []struct {
			Severity, Rule, Module, Direction, Message string
			Step, Call                                 *int
			Slot                                       *string
			Steps                                      []int
		}
	}
	require.NoError(t, json.Unmarshal(a.Bytes(), &j))
	require.Equal(t, []any{"ildiff.lint/v1", e.dir, 2, 1, 4}, []any{j.Schema, j.Session, j.Errors, j.Warnings, len(j.Findings)})
	require.Equal(t, []int{0, 2}, j.Findings[0].Steps)
	require.Equal(t, "0", *j.Findings[0].Slot)
	require.Nil(t, j.Findings[3].Step)
	require.Nil(t, j.Findings[3].Call)
}

// Of many findings of one rule the text shows ten.
func TestManyFindings(t *testing.T) {
	e := copyOf(t, plain)
	e.remove("step_[12]/*/outputs_1_cuda_0.pt")
	r := run(t, e.dir)
	require.Greater(t, r.Count(Error), 11)
	var b bytes.Buffer
	require.NoError(t, WriteText(&b, r, false))
	require.Contains(t, b.String(), "… and ")
	require.Less(t, strings.Count(b.String(), "\n"), 25)
	require.Len(t, Summary(r), 1+leading)
}
