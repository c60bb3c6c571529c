package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/ilref/ilref/internal/fixture"
)

// The jobs that docs/ show do what they say, step by step as GitHub runs them:
// green for a session of the same model, red for one with a fault, and the
// summary is written either way.
func TestDocumentedJobs(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil || runtime.GOOS == "windows" {
		t.Skip("no bash")
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "../...")
	build.Stderr = os.Stderr
	require.NoError(t, build.Run())
	good, fault := fixture.Session(t, "gopher-1m-bf16"), fixture.Session(t, "gopher-1m-bf16-fault")
	for _, c := range []struct {
		name, doc, golden string
		exit              int
		left              []string
	}{
		{"ci.md, green", "ci.md", good, 0, []string{"report.html", "junit.xml", "summary.md"}},
		{"ci.md, red", "ci.md", fault, 1, []string{"report.html", "junit.xml", "summary.md"}},
		{"ci-policy.md, green", "ci-policy.md", good, 0, nil},
		{"ci-policy.md, red", "ci-policy.md", fault, 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.Symlink(bin, filepath.Join(dir, "bin")))
			golden := map[string]string{"ci.md": "golden", "ci-policy.md": "llama.golden"}[c.doc]
			save := exec.Command(filepath.Join(bin, "ildiff"), "baseline", "save", c.golden, "-o", filepath.Join(dir, golden), "--keep", "session")
			out, err := save.CombinedOutput()
			require.NoError(t, err, "%s", out)
			run := "#!/bin/sh\ncp -r '" + good + "' \"$1\"\n"
			require.NoError(t, os.WriteFile(filepath.Join(dir, "run-model.sh"), []byte(run), 0o700))
			exit := 0
			for _, s := range jobSteps(t, c.doc) {
				args := []string{"-e"}
				if s.Shell == "bash" {
					args = append(args, "-o", "pipefail")
				}
				cmd := exec.Command(bash, append(args, "-c", s.Run)...)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "GITHUB_STEP_SUMMARY="+filepath.Join(dir, "step-summary"))
				out, err := cmd.CombinedOutput()
				t.Logf("%s\n%.300s", s.Run, out)
				if exit = cmd.ProcessState.ExitCode(); err != nil {
					break
				}
			}
			require.Equal(t, c.exit, exit)
			summary, err := os.ReadFile(filepath.Join(dir, "step-summary"))
			require.NoError(t, err)
			require.Contains(t, string(summary), map[int]string{0: "## ✅ ildiff: PASS", 1: "## ❌ ildiff: FAIL"}[c.exit])
			for _, f := range c.left {
				require.FileExists(t, filepath.Join(dir, f))
			}
		})
	}
}

type jobStep struct{ Run, Shell string }

// jobSteps are the commands of the first GitHub job of a page, but for those
// that build the programs.
func jobSteps(t *testing.T, page string) (steps []jobStep) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	require.NoError(t, err)
	for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		var w struct {
			Jobs map[string]struct{ Steps []jobStep }
		}
		if !strings.Contains(block, "jobs:") {
			continue
		}
		require.NoError(t, yaml.Unmarshal([]byte(block), &w), page)
		for _, job := range w.Jobs {
			for _, s := range job.Steps {
				if s.Run != "" && !strings.HasPrefix(s.Run, "go ") {
					steps = append(steps, s)
				}
			}
			require.NotEmpty(t, steps)
			return steps
		}
	}
	require.Fail(t, "no job in "+page)
	return nil
}
