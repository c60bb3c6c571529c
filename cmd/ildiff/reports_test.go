package main

import (
	"testing"

	"github.com/ilref/ilref/internal/reportcase"
)

// Every cause of a public report is answered as it should be, from two sessions
// and with the model.
func TestReports(t *testing.T) {
	reportcase.Walk(t, run, []string{"two", "model"}, func(cs *reportcase.Cases, name, way, _ string) []string {
		c := cs.List[name]
		args := []string{cs.Session(c.Reference), cs.Session(name)}
		if way == "model" {
			args = append(args, "--model", cs.Checkpoint(c.Checkpoint))
		}
		return args
	})
}
