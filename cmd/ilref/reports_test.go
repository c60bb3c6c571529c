package main

import (
	"testing"

	"github.com/ilref/ilref/internal/reportcase"
)

// Every cause of a public report is answered as it should be by a run of the
// right model on the session's tokens, with and without a floor.
func TestReports(t *testing.T) {
	reportcase.Walk(t, run, []string{"diff", "floor"}, func(cs *reportcase.Cases, name, way, dir string) []string {
		c := cs.List[name]
		args := []string{"run", "--diff", cs.Session(name), "--model", cs.Checkpoint(c.Checkpoint), "--output-dir", dir}
		if way == "floor" {
			args = append(args, "--with-floor")
		}
		for _, ids := range c.PromptIDs {
			args = append(args, "--prompt-ids", ids)
		}
		return args
	})
}
