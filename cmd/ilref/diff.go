package main

import (
	"context"
	"io"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/render"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/terminal"
)

// compare prints ildiff's report on the session that was re-run: the run just
// made is the reference, the given session the target. Where an il config logs
// less than the session holds, what both hold is compared. oracle is the
// float64 session of --with-floor, or "".
func (f *runFlags) compare(ctx context.Context, target *il.Session, run, oracle string, stdout io.Writer) error {
	reference, err := il.Open(run)
	if err != nil {
		return err
	}
	opts := compare.Options{CommonOnly: f.config != "" || f.configPath != ""}
	if oracle != "" { // the run itself is the emulation whose error is the floor
		if opts.Evidence.Oracle, err = il.Open(oracle); err != nil {
			return err
		}
		opts.Evidence.Floor = reference
	}
	report, err := compare.SessionsContext(ctx, reference, target, opts)
	if err != nil {
		return err
	}
	text := render.TextOptions{Color: terminal.Color(stdout, f.color), Width: terminal.Width(stdout)}
	if err := render.Text(stdout, report, text); err != nil {
		return err
	}
	if code := report.ExitCode(); code != exitOK {
		return exitCode(code)
	}
	return nil
}
