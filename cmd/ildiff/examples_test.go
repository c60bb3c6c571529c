package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/ilref/ilref/internal/fixture"
)

const exampleParts = "8"

// The files of docs/examples are run as they are: each of their scripts in a
// shell, with the variables that the scheduler would set.
func TestExampleFiles(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("the examples are for sh")
	}
	bin := buildPrograms(t)
	whole := exampleFolder(t, bin)
	replayed := whole.run(`ilref replay target --model model --output-dir replays --session-id all
		ildiff reference target --replay replays/all`, 1)
	require.Contains(t, replayed, "First divergence: step 0, model.layers.0.self_attn.o_proj, output 0: the right model gives another output")

	t.Run("kubernetes", func(t *testing.T) {
		var jobs []job
		d := yaml.NewDecoder(bytes.NewReader(example(t, "kubernetes-indexed-job.yaml")))
		for range 2 {
			var j job
			require.NoError(t, d.Decode(&j))
			require.Equal(t, []string{"sh", "-euc"}, j.container().Command)
			jobs = append(jobs, j)
		}
		parts, merge := jobs[0], jobs[1]
		require.Equal(t, "Indexed", parts.Spec.CompletionMode)
		require.Equal(t, exampleParts, fmt.Sprint(parts.Spec.Completions))
		require.Equal(t, "PARTS", parts.container().Env[0].Name)
		require.Equal(t, exampleParts, parts.container().Env[0].Value)
		f := exampleFolder(t, bin)
		for i := range parts.Spec.Completions {
			f.env = []string{"PARTS=" + parts.container().Env[0].Value, fmt.Sprintf("JOB_COMPLETION_INDEX=%d", i)}
			f.run(parts.container().Args[0], 0)
		}
		f.run(parts.container().Args[0], 0) // an index that is tried again
		f.env = nil
		require.Equal(t, replayed, f.run(merge.container().Args[0], 1))
		require.FileExists(t, filepath.Join(f.dir, "report.html"))
	})

	t.Run("slurm", func(t *testing.T) {
		script := string(example(t, "slurm-array.sbatch"))
		require.Contains(t, script, "--array=1-"+exampleParts+" slurm-array.sbatch")
		require.Contains(t, script, "\n#SBATCH --kill-on-invalid-dep=yes\n", "or the merge waits for ever where a part fails")
		f := exampleFolder(t, bin)
		for i := 1; i <= 8; i++ {
			f.env = []string{fmt.Sprintf("SLURM_ARRAY_TASK_ID=%d", i)}
			f.run(script, 0)
		}
		f.env = nil
		require.Equal(t, replayed, f.run(script, 1))
	})

	t.Run("github", func(t *testing.T) {
		var w workflow
		require.NoError(t, yaml.Unmarshal(example(t, "github-actions-matrix.yml"), &w))
		f := exampleFolder(t, bin)
		gopher := fixture.Session(t, "gopher-1m-bf16")
		require.NoError(t, os.CopyFS(filepath.Join(f.dir, "golden"), os.DirFS(gopher)))
		require.NoError(t, os.Symlink(bin, filepath.Join(f.dir, "bin")))
		f.run(w.script(t, "record", "The run to be checked"), 0)
		part := w.script(t, "part", "Measure a part")
		numbers := w.Jobs["part"].Strategy.Matrix.Part
		require.Equal(t, []int{1, 2, 3, 4}, numbers)
		require.Equal(t, map[string]string{"PART": "${{ matrix.part }}", "PARTS": "${{ strategy.job-total }}"}, w.step(t, "part", "Measure a part").Env)
		require.NoError(t, os.Mkdir(filepath.Join(f.dir, "parts"), 0o777))
		for _, n := range numbers {
			f.env = []string{fmt.Sprintf("PART=%d", n), fmt.Sprintf("PARTS=%d", len(numbers))}
			f.run(part, 0)
			name := fmt.Sprintf("part-%d.json", n) // the artifact's way
			require.NoError(t, os.Rename(filepath.Join(f.dir, name), filepath.Join(f.dir, "parts", name)))
		}
		f.env = []string{"GITHUB_STEP_SUMMARY=" + filepath.Join(f.dir, "step-summary.md")}
		f.run(w.script(t, "merge", "Merge the parts"), 0)
		summary, err := os.ReadFile(filepath.Join(f.dir, "step-summary.md"))
		require.NoError(t, err)
		require.Equal(t, f.run("bin/ildiff golden new --format markdown", 0), string(summary))
	})
}

// job is a Kubernetes Job as far as the test reads it.
type job struct {
	Kind string
	Spec struct {
		CompletionMode string `yaml:"completionMode"`
		Completions    int
		Template       struct {
			Spec struct {
				Containers []container
			}
		}
	}
}

type container struct {
	Command, Args []string
	Env           []struct{ Name, Value string }
}

func (j *job) container() container { return j.Spec.Template.Spec.Containers[0] }

// workflow is one of GitHub Actions.
type workflow struct {
	Jobs map[string]struct {
		Strategy struct {
			Matrix struct{ Part []int }
		}
		Steps []step
	}
}

type step struct {
	Name, Run string
	Env       map[string]string
}

func (w *workflow) step(t *testing.T, job, name string) step {
	for _, s := range w.Jobs[job].Steps {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("job %s has no step %q", job, name)
	return step{}
}

func (w *workflow) script(t *testing.T, job, name string) string { return w.step(t, job, name).Run }

func example(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../docs/examples", name))
	require.NoError(t, err)
	return b
}

// buildPrograms builds both programs into a folder.
func buildPrograms(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "../ilref", "../ildiff").CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}

// folder is where an example runs.
type folder struct {
	*testing.T
	dir, bin string
	env      []string
}

// exampleFolder holds a reference, a target with a fault and the model.
func exampleFolder(t *testing.T, bin string) *folder {
	t.Helper()
	f := &folder{T: t, dir: t.TempDir(), bin: bin}
	for name, from := range map[string]string{
		"reference": fixture.Session(t, base), "target": fixture.Session(t, base+"-fault-row_scale"), "model": fixture.Checkpoint("llama3-gqa"),
	} {
		require.NoError(t, os.Symlink(from, filepath.Join(f.dir, name)))
	}
	return f
}

const base = "llama3-gqa-bf16"

// run runs a script as the schedulers' shells do, and returns its stdout.
func (f *folder) run(script string, code int) string {
	f.Helper()
	c := exec.Command("sh", "-euc", script)
	c.Dir = f.dir
	c.Env = append(append(os.Environ(), "PATH="+f.bin+string(filepath.ListSeparator)+os.Getenv("PATH")), f.env...)
	var stdout, stderr strings.Builder
	c.Stdout, c.Stderr = &stdout, &stderr
	_ = c.Run()
	require.Equal(f, code, c.ProcessState.ExitCode(), stdout.String()+stderr.String())
	out := stdout.String()
	if i := strings.Index(out, "reference  "); i > 0 { // behind what ilref says
		out = out[i:]
	}
	return out
}
