// Package reportcase reads causes of public accuracy reports, re-made as
// sessions, and what a comparison must say of each. Tests of both programs walk
// them.
package reportcase

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ilref/ilref/internal/fixture"
)

// Case is one cause, or a difference that is no fault.
type Case struct {
	About      string `json:"about"`
	Reference  string `json:"reference"`  // the session to compare with
	Checkpoint string `json:"checkpoint"` // of both
	Answer
	Ways      map[string]Answer `json:"ways"` // what differs by the way of asking: two, model, diff, floor
	PromptIDs []string          `json:"prompt_ids"`
}

// Answer is what is right.
type Answer struct {
	At    [][2]any `json:"at"`    // step and module of the first divergences that are right
	Exit  []int    `json:"exit"`  // codes that are right
	Must  string   `json:"must"`  // Python regular expression of what the text says
	Never string   `json:"never"` // of what it does not say
}

// Cases are the cases by name, and the folder that holds checkpoints and
// sessions.
type Cases struct {
	Dir  string
	List map[string]*Case
}

// Open unpacks all cases where they are at hand, else those of testdata.
func Open(tb testing.TB) *Cases {
	tb.Helper()
	c := &Cases{Dir: tb.TempDir(), List: map[string]*Case{}}
	if archive, ok := fixture.Shared("reports.tar.xz"); ok {
		if out, err := exec.Command("tar", "-xJf", archive, "-C", c.Dir, "--strip-components=1").CombinedOutput(); err != nil {
			tb.Fatalf("%s: %v: %s", archive, err, out)
		}
	} else if err := fixture.Reports(c.Dir); err != nil {
		tb.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(c.Dir, "cases.json"))
	if err == nil {
		err = json.Unmarshal(data, &c.List)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// Walk asks a program every case, by the ways of asking that args gives the
// arguments of; dir is an empty folder for what the program writes.
func Walk(t *testing.T, run func(ctx context.Context, args []string, stdout, stderr io.Writer) int, ways []string, args func(cs *Cases, name, way, dir string) []string) {
	cases := Open(t)
	for name, c := range cases.List {
		for _, way := range ways {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				var stdout, stderr bytes.Buffer
				code := run(context.Background(), args(cases, name, way, t.TempDir()), &stdout, &stderr)
				if wrong := c.Check(way, code, stdout.String()); wrong != "" {
					t.Errorf("%s\n%s", wrong, stderr.String())
				}
			})
		}
	}
}

// Session is the folder of a session.
func (c *Cases) Session(name string) string { return filepath.Join(c.Dir, "sessions", name) }

// Checkpoint is the folder of a checkpoint.
func (c *Cases) Checkpoint(name string) string { return filepath.Join(c.Dir, "checkpoints", name) }

// answer is what is right for one way of asking.
func (c *Case) answer(way string) Answer {
	a := c.Answer
	if w, ok := c.Ways[way]; ok {
		if w.At != nil {
			a.At = w.At
		}
		if w.Exit != nil {
			a.Exit = w.Exit
		}
		if w.Must != "" {
			a.Must = w.Must
		}
		if w.Never != "" {
			a.Never = w.Never
		}
	}
	return a
}

// Check returns what is wrong with an answer, "" for nothing: the exit code, and
// the text below the table.
func (c *Case) Check(way string, code int, stdout string) string {
	a := c.answer(way)
	text := stdout
	if i := strings.Index(stdout, "\n\n"); i >= 0 { // behind the header, the table
		if j := strings.Index(stdout[i+2:], "\n\n"); j >= 0 {
			text = stdout[i+2+j:]
		}
	}
	var wrong []string
	if !slices.Contains(a.Exit, code) {
		wrong = append(wrong, fmt.Sprintf("exit code %d, want %v", code, a.Exit))
	}
	if code == 1 && slices.Contains(a.Exit, 1) {
		if len(a.At) > 0 && !slices.ContainsFunc(a.At, func(at [2]any) bool {
			return strings.Contains(text, fmt.Sprintf("First divergence: step %v, %v", at[0], at[1]))
		}) {
			wrong = append(wrong, fmt.Sprintf("the first divergence is not at %v", a.At))
		}
		if a.Must != "" && !regexp.MustCompile(a.Must).MatchString(text) {
			wrong = append(wrong, "it does not say "+a.Must)
		}
	}
	if a.Never != "" {
		if said := regexp.MustCompile(a.Never).FindString(text); said != "" {
			wrong = append(wrong, "it says "+said)
		}
	}
	if len(wrong) == 0 {
		return ""
	}
	return fmt.Sprintf("%s\n%s\n%s", c.About, strings.Join(wrong, "\n"), text)
}
