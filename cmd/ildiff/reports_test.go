package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/ilref/ilref/internal/reportcase"
)

// Every cause of a public report is answered as it should be, from two sessions
// and with the model.
func TestReports(t *testing.T) {
	cases := reportcase.Open(t)
	for name, c := range cases.List {
		for way, more := range map[string][]string{"two": nil, "model": {"--model", cases.Checkpoint(c.Checkpoint)}} {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				var stdout, stderr bytes.Buffer
				code := run(context.Background(), append([]string{cases.Session(c.Reference), cases.Session(name)}, more...), &stdout, &stderr)
				if wrong := c.Check(way, code, stdout.String()); wrong != "" {
					t.Errorf("%s\n%s", wrong, stderr.String())
				}
			})
		}
	}
}
