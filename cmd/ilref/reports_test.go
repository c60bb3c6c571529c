package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/ilref/ilref/internal/reportcase"
)

// Every cause of a public report is answered as it should be by a run of the
// right model on the session's tokens, with and without a floor.
func TestReports(t *testing.T) {
	cases := reportcase.Open(t)
	for name, c := range cases.List {
		for way, more := range map[string][]string{"diff": nil, "floor": {"--with-floor"}} {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				args := append([]string{"run", "--diff", cases.Session(name), "--model", cases.Checkpoint(c.Checkpoint), "--output-dir", t.TempDir()}, more...)
				for _, ids := range c.PromptIDs {
					args = append(args, "--prompt-ids", ids)
				}
				var stdout, stderr bytes.Buffer
				code := run(context.Background(), args, &stdout, &stderr)
				if wrong := c.Check(way, code, stdout.String()); wrong != "" {
					t.Errorf("%s\n%s", wrong, stderr.String())
				}
			})
		}
	}
}
