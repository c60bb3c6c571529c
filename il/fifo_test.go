//go:build unix

package il

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPipes: nothing waits for the writer of a pipe.
func TestPipes(t *testing.T) {
	dir := t.TempDir()
	write(t, "m\n", dir, "s", "step_0", callsFile)
	write(t, "{}", dir, "s", "step_0", "m", "inputs.json")
	for _, p := range []string{"p", "s/step_1", "s/step_0/m/outputs_cpu.pt", "s/step_0/m/outputs_0.json", "s/step_0/m/outputs.json", "s/step_0/pipe"} {
		require.NoError(t, syscall.Mkfifo(filepath.Join(dir, p), 0o644))
	}
	s, err := Open(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"outputs/=cpu", "outputs/0=stub"}, slots(s.Steps[0].Calls[0]))
	_, _, err = s.Steps[0].Calls[0].Slots[0].Tensors[0].Open()
	require.ErrorContains(t, err, "is not a regular file")
	require.Contains(t, s.Steps[0].Calls[0].Slots[1].Stub.Reason, "is not a regular file")
	require.Len(t, s.Warnings, 5)

	// Nor do the files that say how the session was made cost it anything.
	for _, p := range []string{"s/session.json", "s/batches.jsonl"} {
		require.NoError(t, syscall.Mkfifo(filepath.Join(dir, p), 0o644))
	}
	s, err = Open(dir)
	require.NoError(t, err)
	require.Len(t, s.Warnings, 7)
	require.Contains(t, s.Warnings[5], "session.json is not a regular file but a pipe: ignored")
	require.Contains(t, s.Warnings[6], "batches.jsonl is not a regular file but a pipe: ignored")

	_, err = Open(filepath.Join(dir, "p"))
	require.ErrorContains(t, err, "is a file, expected a session directory")
	write(t, "x", dir, "t", "step_0", "m", "f")
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "t", "step_0", callsFile), 0o644))
	_, err = Open(filepath.Join(dir, "t"))
	require.ErrorContains(t, err, callsFile+" is not a regular file")
}
