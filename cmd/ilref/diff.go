package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/measure"
	"github.com/ilref/ilref/compare/render"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/terminal"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/ref/evidence"
)

// compare prints ildiff's report on the session that was re-run: the run just
// made is the reference, the given session the target, and each module is judged
// by what it returns for the target's own inputs. Where an il config logs
// less than the session holds, what both hold is compared. oracle is the
// float64 session of --with-floor, or "".
func (f *runFlags) compare(ctx context.Context, ckpt *model.Checkpoint, job *job, run, oracle string, stdout, stderr io.Writer) error {
	reference, err := il.Open(run)
	if err != nil {
		return err
	}
	opts := compare.Options{CommonOnly: f.config != "" || f.configPath != ""}
	opts.Evidence.KVHeads = ckpt.Config.NumKeyValueHeads
	routers, err := evidence.RoutersOf(job.like, ckpt)
	if err != nil {
		return err
	}
	opts.Experts = measure.NewExperts(routers.Choice, routers.Exact, routers.Without, routers.Weighed)
	dir, err := os.MkdirTemp("", "ilref-replay-")
	if err != nil {
		return fmt.Errorf("--diff: no room for the replay: %w", err)
	}
	defer os.RemoveAll(dir)
	if opts.Evidence.Replay, _, err = evidence.Replay(ctx, job.like, job.ranks, ckpt, nil, nn.Rounding(f.rounding), dir); err != nil {
		if ctx.Err() != nil {
			return err
		}
		warn(stderr, fmt.Sprintf("judged between the two runs alone: %v", err))
	}
	if oracle != "" { // the run itself is the emulation whose error is the floor
		if opts.Evidence.Oracle, err = il.Open(oracle); err != nil {
			return err
		}
		opts.Evidence.Floor = reference
	}
	report, err := compare.SessionsContext(ctx, reference, job.recorded, opts)
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
