package main

import (
	"context"
	"io"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/terminal"
)

// compare prints ildiff's report on the session that was re-run: the run just
// made is the reference, the given session the target. Where an il config logs
// less than the session holds, what both hold is compared.
func (f *runFlags) compare(ctx context.Context, target *il.Session, run, oracle string, stdout io.Writer) error {
	reference, err := il.Open(run)
	if err != nil {
		return err
	}
	report, err := compare.SessionsContext(ctx, reference, target, compare.Options{CommonOnly: f.config != "" || f.configPath != ""})
	if err != nil {
		return err
	}
	opts := compare.TextOptions{Color: terminal.Color(stdout, f.color), Width: terminal.Width(stdout)}
	if err := compare.WriteText(stdout, report, opts); err != nil {
		return err
	}
	if code := report.ExitCode(); code != exitOK {
		return exitCode(code)
	}
	return nil
}
