package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page on trainer and rollout says what its example prints, and its policy is
// read and broken by it.
func TestTrainerAndRolloutPage(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil || runtime.GOOS == "windows" {
		t.Skip("no bash")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "trainer-and-rollout.md"))
	require.NoError(t, err)
	testdata, err := filepath.Abs(filepath.Join("..", "..", "testdata"))
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	require.NoError(t, os.Symlink(testdata, "testdata"))
	_, block, ok := strings.Cut(string(text), "```sh\nmkdir ")
	require.True(t, ok)
	block, after, _ := strings.Cut("mkdir "+block, "```")
	unpack, command, _ := strings.Cut(strings.TrimSpace(block), "\n")
	out, err := exec.Command(bash, "-ec", unpack).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.True(t, strings.HasPrefix(command, "ildiff "))
	args := strings.Fields(command)[1:]
	var stdout, stderr strings.Builder
	require.Equal(t, 1, run(context.Background(), args, &stdout, &stderr), stderr.String())
	shown := 0
	for line := range strings.Lines(after) {
		if line = strings.TrimRight(line, "\n"); strings.HasPrefix(line, "    ") {
			require.Contains(t, stdout.String(), "\n"+line[4:]+"\n")
			shown++
		} else if shown > 0 {
			break
		}
	}
	require.Equal(t, 2, shown)

	_, policy, ok := strings.Cut(string(text), "```yaml\n")
	require.True(t, ok)
	policy, _, _ = strings.Cut(policy, "```")
	require.NoError(t, os.WriteFile("rl.yaml", []byte(policy), 0o600))
	stdout.Reset()
	require.Equal(t, 1, run(context.Background(), append(args, "--policy", "rl.yaml"), &stdout, &stderr), stderr.String())
	require.Contains(t, stdout.String(), "\n  Beyond the policy: mean |log ratio| 0.0244 is above 0.02.\n")
}
