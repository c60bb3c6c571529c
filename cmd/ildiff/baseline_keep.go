package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/ilref/ilref/compare/baseline"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/atomicfile"
)

// keptForms are the values of --keep.
var keptForms = []string{"fingerprint", "session"}

// keepsSession reports whether a baseline is a folder with a session in it.
func keepsSession(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// fingerprintAlone refuses flags of a comparison, which a fingerprint cannot
// serve.
func fingerprintAlone(path string, set *pflag.FlagSet) (err error) {
	judging := pflag.NewFlagSet("", pflag.ContinueOnError)
	f := newFlags()
	f.addJudging(judging)
	f.addReports(judging)
	set.Visit(func(x *pflag.Flag) {
		if err == nil && judging.Lookup(x.Name) != nil {
			err = fmt.Errorf("--%s needs the session itself, and %s is a fingerprint: save with --keep session, or compare the two sessions", x.Name, path)
		}
	})
	return err
}

// saveSession makes the folder of a baseline beside its place, and puts it
// there when it is complete.
func (f *baselineFlags) saveSession(ctx context.Context, s *il.Session, e baseline.Entry) error {
	files, err := baseline.List(s.Dir)
	if err != nil {
		return err
	}
	folder, err := atomicfile.MakeDir(f.path)
	if err != nil {
		return cannotWrite(f.path, err)
	}
	defer folder.Abort()
	b, err := first(ctx, s, e)
	if err != nil {
		return err
	}
	if b.Kept, err = files.Keep(ctx, folder.Name); err != nil {
		return fmt.Errorf("baseline save: %w", err)
	}
	out, err := newOutput(filepath.Join(folder.Name, baseline.FileName), nil)
	if err != nil {
		return err
	}
	defer out.abort()
	if err := writeBaseline(out, b); err != nil {
		return err
	}
	return f.place(ctx, func() error {
		if err := folder.Commit(); err != nil {
			return cannotWrite(f.path, err)
		}
		return nil
	})
}

// checkFlags refuses what diff would, before a session of any size is read.
func (f *baselineFlags) checkFlags() error {
	if _, err := f.options(); err != nil {
		return err
	}
	_, err := f.wanted()
	return err
}

// diffKept is ildiff on the session that a baseline keeps.
func (f *baselineFlags) diffKept(ctx context.Context, path, kept, dir string, stdout, stderr io.Writer) (*report.Report, error) {
	var made *report.Report
	_, err := diff(ctx, f.flags, kept, dir, func(r *report.Report) error {
		made = r
		if len(r.Workloads) > 0 && r.Workloads[0].Forward == r.Modules[0].Forward {
			return fmt.Errorf("%s: the baseline is foreign to %s: step %d: %s", path, dir, r.Workloads[0].Forward, r.Workloads[0].Why)
		}
		return nil
	}, stdout, stderr)
	return made, err
}

func (f *baselineFlags) checkSession(ctx context.Context, path, dir string, stdout, stderr io.Writer) (int, error) {
	if err := f.checkFlags(); err != nil {
		return 0, err
	}
	_, kept, err := baseline.LoadKept(ctx, path)
	if err != nil {
		return 0, err
	}
	r, err := f.diffKept(ctx, path, kept, dir, stdout, stderr)
	if err != nil {
		return 0, err
	}
	return r.ExitCode(), nil
}

// acceptSession copies the session beside the one that is kept; the moment that
// replaces this one is the renaming of the file that names it.
func (f *baselineFlags) acceptSession(ctx context.Context, path, dir string, e baseline.Entry, stdout, stderr io.Writer) (int, error) {
	if err := f.checkFlags(); err != nil {
		return 0, err
	}
	b, kept, err := baseline.LoadKept(ctx, path)
	if err != nil {
		return 0, err
	}
	s, err := il.Open(dir)
	if err != nil {
		return 0, err
	}
	files, err := baseline.List(s.Dir)
	if err != nil {
		return 0, err
	}
	out, err := newOutput(filepath.Join(path, baseline.FileName), nil)
	if err != nil {
		return 0, err
	}
	defer out.abort()
	p, unfit, err := takePrint(ctx, s, b)
	if err != nil {
		return 0, err
	}
	r, err := f.diffKept(ctx, path, kept, dir, stdout, stderr)
	if err != nil {
		return 0, err
	}
	c := r.Coverage
	less := len(c.MissingInTarget)+len(c.Skipped)+len(c.Unreadable) > 0 || c.Compared == 0
	if why := f.refusal(unfit, less, r.ExitCode() == 0); why != "" {
		_, err := fmt.Fprintf(stdout, "Not accepted, %s is as it was: %s.\n", path, why)
		return max(1, r.ExitCode()), written(err)
	}
	e.Reason = f.reason
	if d := r.FirstDivergence; d != nil {
		e.DespiteGap = fmt.Sprintf("%s: %s", d.Key, d.Why)
	}
	b.History, b.Tensors = append(b.History, e), p.Tensors
	former := b.Kept.Session
	if b.Kept, err = files.Keep(ctx, path); err != nil {
		return 0, fmt.Errorf("baseline accept: %w", err)
	}
	if err := writeBaseline(out, b); err != nil {
		return 0, err
	}
	if former != b.Kept.Session {
		if err := os.RemoveAll(filepath.Join(path, former)); err != nil {
			return 0, fmt.Errorf("%s keeps the new session now, but the former one cannot be removed: %w", path, err)
		}
	}
	_, err = fmt.Fprintf(stdout, "Accepted: %s is now that of %s.\n", path, e.Session)
	return 0, written(err)
}
