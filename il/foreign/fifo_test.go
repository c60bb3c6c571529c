//go:build unix

package foreign_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il/foreign"
	"github.com/ilref/ilref/internal/fixture"
)

// Nothing waits for the writer of a pipe.
func TestPipes(t *testing.T) {
	pipe := func(path string) {
		require.NoError(t, os.RemoveAll(path))
		require.NoError(t, syscall.Mkfifo(path, 0o644))
	}
	for dump, file := range map[string]string{
		"dumper-sglang": normFile,
		"msprobe":       "step0/rank/dump_tensor_data/Module.model.norm.RMSNorm.forward.0.output.0.pt",
		"neuron":        "dp0/prefill_s8_0/model.norm/rank0.pt",
	} {
		dir := fixture.Dump(t, dump)
		pipe(one(t, dir, file))
		r := diff(t, open(t, fixture.Dump(t, dump)), open(t, dir))
		require.Equal(t, report.Incomparable, r.Verdict)
		require.Contains(t, r.Coverage.Unreadable[0].Why, "is not a regular file")
	}
	for dump, file := range map[string]string{
		"msprobe": "step0/rank/dump.json",
		"hidden":  "layer_ids.json",
		"neuron":  "dp0/prefill_s8_0/prefill_s8_0_meta.json",
	} {
		dir := fixture.Dump(t, dump)
		pipe(filepath.Join(dir, file))
		_, err := foreign.Open(dir)
		require.ErrorContains(t, err, "is not a regular file")
	}
	dir := fixture.Dump(t, "pass")
	pipe(filepath.Join(dir, "TP0_PP0_Rank0_pid4711", "Pass00001.pt"))
	require.Contains(t, open(t, dir).Unfinished(), "is not a regular file")
	dir = fixture.Dump(t, "hidden")
	pipe(filepath.Join(dir, "another.safetensors"))
	require.Contains(t, open(t, dir).Unfinished(), "is not a regular file")
}
