package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ilref/ilref/compare/baseline"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/foreign"
	"github.com/ilref/ilref/il/lint"
	"github.com/ilref/ilref/internal/cli"
	"github.com/ilref/ilref/internal/filelock"
)

const baselineLong = `Baseline keeps what a session that is known good was, to hold later runs of the same
prompts against, in one of two forms:

  fingerprint  a FILE with a hash, statistics and 32 random projections of every
               tensor, about 800 bytes each. Equal hashes are equal tensors; else
               the gap is estimated from the projections, with a standard error of
               an eighth, and said to be an estimate.
  session      a folder with the fingerprint and a copy of the session. check makes
               sure that the copy is what was saved, to the byte, and is ildiff on
               it: with its judge, its formats and its flags. accept takes those
               that say how to judge.

A failing run never replaces a baseline: save refuses a name that exists, accept a
run with lint errors, new NaN, less than the baseline holds, or a gap, unless
--despite-gap accepts that; what was accepted, and why, stays in the history. A run
that has not ended is neither saved nor accepted.

Exit codes of check and accept:
  0  within what rounding explains; accept: the baseline was replaced
  1  a gap; accept: refused
  2  usage, or a file or session that cannot be read, a stale, foreign or damaged
     baseline
  3  no gap, but tensors are missing, skipped or unreadable; accept: refused
  130  interrupted`

// baselineFlags are the form of a baseline, what save and accept write into the
// history, and how check and accept compare with a session that is kept.
type baselineFlags struct {
	path, keep, time, note, reason string
	despiteGap                     bool
	*flags
}

// addBaseline makes "ildiff baseline save|check|accept" part of ildiff.
func addBaseline(root *cobra.Command, code *int, stdout, stderr io.Writer) {
	top := &cobra.Command{
		Use:     "baseline",
		Short:   "keep a good session or its fingerprint and hold others against it",
		Long:    baselineLong,
		Example: "  ildiff baseline save good-run -o llama.baseline\n  ildiff baseline check llama.baseline new-run\n  ildiff baseline accept llama.baseline new-run --reason 'new attention kernel'",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("baseline: unknown command %q, want save, check or accept", args[0])
			}
			return errors.New("baseline: want a command: save, check or accept (see ildiff baseline --help)")
		},
		DisableFlagsInUseLine: true,
	}
	f := baselineFlags{flags: newFlags()}
	save := baselineCommand("save SESSION", 1, "keep a session or its fingerprint",
		"  ildiff baseline save good-run -o llama.baseline --time now --note 'vLLM 0.11, H100'\n  ildiff baseline save good-run -o llama.golden --keep session",
		func(cmd *cobra.Command, args []string) error { return f.save(cmd.Context(), args[0]) })
	save.Flags().StringVarP(&f.path, "output", "o", "", "write the baseline to `FILE`, or to a folder of that name; it must not exist")
	save.Flags().StringVar(&f.keep, "keep", keptForms[0], "what to keep, in `FORM` fingerprint (a file) or session (a folder with a copy of all its files, too)")
	check := baselineCommand("check BASELINE SESSION", 2, "hold a session against a baseline",
		"  ildiff baseline check llama.baseline new-run\n  ildiff baseline check llama.golden new-run --format junit -o junit.xml --format text",
		func(cmd *cobra.Command, args []string) (err error) {
			*code, err = f.check(cmd.Context(), cmd.Flags(), args[0], args[1], stdout, stderr)
			return err
		})
	accept := baselineCommand("accept BASELINE SESSION", 2, "replace a baseline by a session that passes, or whose gap is accepted",
		"  ildiff baseline accept llama.baseline new-run --reason 'new attention kernel' --despite-gap",
		func(cmd *cobra.Command, args []string) (err error) {
			*code, err = f.accept(cmd.Context(), cmd.Flags(), args[0], args[1], stdout, stderr)
			return err
		})
	accept.Flags().StringVar(&f.reason, "reason", "", "why the session is the new baseline: `TEXT`, kept in the history")
	accept.Flags().BoolVar(&f.despiteGap, "despite-gap", false, "accept the gap that the check finds")
	for _, c := range []*cobra.Command{save, accept} {
		c.Flags().StringVar(&f.note, "note", "", "`TEXT` for the history")
		c.Flags().StringVar(&f.time, "time", "", "`TIME` for the history: now, or as in 2026-11-23T16:00:00Z")
	}
	f.addJudging(check.Flags())
	f.addReports(check.Flags())
	f.addJudging(accept.Flags())
	top.AddCommand(save, check, accept)
	root.AddCommand(top)
}

func baselineCommand(use string, n int, short, example string, do func(*cobra.Command, []string) error) *cobra.Command {
	name, operands, _ := strings.Cut(use, " ")
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    baselineLong,
		Example: example,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != n {
				return fmt.Errorf("baseline %s: want %s, but got %d operands (see ildiff baseline --help)", name, operands, len(args))
			}
			return nil
		},
		RunE:                  do,
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().SortFlags = false
	return cmd
}

// entry is a line of the history.
func (f *baselineFlags) entry(action, dir string) (e baseline.Entry, err error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return e, err
	}
	e = baseline.Entry{Action: action, Session: filepath.Base(abs), Tool: "ildiff " + cli.Version(), Note: f.note}
	switch f.time {
	case "":
	case "now":
		e.Time = time.Now().UTC().Format(time.RFC3339)
	default:
		t, err := time.Parse(time.RFC3339, f.time)
		if err != nil {
			return e, fmt.Errorf("--time %q: want now, or a time as in 2026-11-23T16:00:00Z", f.time)
		}
		e.Time = t.Format(time.RFC3339)
	}
	return e, nil
}

func (f *baselineFlags) save(ctx context.Context, dir string) error {
	if f.path == "" {
		return errors.New("baseline save: want a file for the baseline: -o FILE")
	}
	if !slices.Contains(keptForms, f.keep) {
		return fmt.Errorf("--keep %q: want one of %s", f.keep, strings.Join(keptForms, ", "))
	}
	f.path = filepath.Clean(f.path)
	if err := f.absent(); err != nil {
		return err
	}
	e, err := f.entry("save", dir)
	if err != nil {
		return err
	}
	if f.keep == "session" {
		s, err := il.Open(dir) // its files are kept as they are
		if err != nil {
			return err
		}
		return f.saveSession(ctx, s, e)
	}
	s, err := foreign.Open(dir)
	if err != nil {
		return err
	}
	out, err := newOutput(f.path, nil)
	if err != nil {
		return err
	}
	defer out.abort()
	b, err := first(ctx, s, e)
	if err != nil {
		return err
	}
	return f.place(ctx, func() error { return writeBaseline(out, b) })
}

// place puts a new baseline in its place, unless another save came first.
func (f *baselineFlags) place(ctx context.Context, commit func() error) error {
	unlock, err := filelock.Lock(ctx, filepath.Dir(f.path))
	if err != nil {
		return err
	}
	defer unlock()
	if err := f.absent(); err != nil {
		return err
	}
	return commit()
}

// absent refuses a baseline that is there already.
func (f *baselineFlags) absent() error {
	if _, err := os.Lstat(f.path); err == nil {
		return fmt.Errorf("-o %s: exists, and save replaces nothing: use ildiff baseline accept, or remove it", f.path)
	}
	return nil
}

// first makes the first baseline of a session that is fit for one.
func first(ctx context.Context, s *il.Session, e baseline.Entry) (*baseline.Baseline, error) {
	p, unfit, err := takePrint(ctx, s, nil)
	switch {
	case err != nil:
		return nil, err
	case unfit != "":
		return nil, fmt.Errorf("baseline save: %s is not fit for a baseline: %s", s.Dir, unfit)
	case len(p.Unreadable) > 0:
		return nil, fmt.Errorf("baseline save: %s is not fit for a baseline: unreadable: %s", s.Dir, p.Unreadable[0])
	case len(p.Tensors) == 0:
		return nil, fmt.Errorf("baseline save: %s holds no tensors", s.Dir)
	}
	return &baseline.Baseline{Schema: baseline.Schema, History: []baseline.Entry{e}, Tensors: p.Tensors}, nil
}

func writeBaseline(out *output, b *baseline.Baseline) error {
	err := b.Write(out)
	if err == nil {
		err = out.commit()
	}
	if err != nil {
		return cannotWrite(out.path, err)
	}
	return nil
}

// takePrint reads a session and says what makes it unfit for a baseline,
// whatever the check says: errors of the recording, a run that has not ended, or
// NaN that b has not.
func takePrint(ctx context.Context, s *il.Session, b *baseline.Baseline) (p *baseline.Print, unfit string, err error) {
	l, err := lint.Session(ctx, s, lint.Options{})
	if err != nil {
		return nil, "", err
	}
	if p, err = baseline.Take(ctx, s); err != nil {
		return nil, "", err
	}
	if n := l.Count(lint.Error); n > 0 {
		return p, fmt.Sprintf("lint errors, %d of them, the first: %s (see ildiff lint)", n, l.Findings[0].Message), nil
	}
	if p.Unfinished != "" {
		return p, p.Unfinished, nil
	}
	for _, x := range l.Findings {
		if slices.Contains([]string{"unfinished-step", "unfinished-files", "cut-call-list"}, x.Rule) {
			return p, x.Message, nil
		}
	}
	if at := p.NaN(b); at != "" {
		return p, "NaN in " + at, nil
	}
	return p, "", nil
}

func (f *baselineFlags) check(ctx context.Context, set *pflag.FlagSet, path, dir string, stdout, stderr io.Writer) (int, error) {
	if keepsSession(path) {
		return f.checkSession(ctx, path, dir, stdout, stderr)
	}
	if err := fingerprintAlone(path, set); err != nil {
		return 0, err
	}
	b, err := baseline.Load(path)
	if err != nil {
		return 0, err
	}
	s, err := foreign.Open(dir)
	if err != nil {
		return 0, err
	}
	p, err := baseline.Take(ctx, s)
	if err != nil {
		return 0, err
	}
	r, err := b.Check(dir, p)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return r.ExitCode(), written(r.WriteText(stdout, path, b))
}

func written(err error) error {
	if err != nil {
		return fmt.Errorf("cannot write the report: %w", err)
	}
	return nil
}

func (f *baselineFlags) accept(ctx context.Context, set *pflag.FlagSet, path, dir string, stdout, stderr io.Writer) (int, error) {
	if strings.TrimSpace(f.reason) == "" {
		return 0, errors.New("baseline accept: want a reason: --reason TEXT")
	}
	e, err := f.entry("accept", dir)
	if err != nil {
		return 0, err
	}
	unlock, err := filelock.Lock(ctx, filepath.Dir(filepath.Clean(path))) // accepts of several processes come one after the other
	if err != nil {
		return 0, err
	}
	defer unlock()
	if keepsSession(path) {
		return f.acceptSession(ctx, path, dir, e, stdout, stderr)
	}
	if err := fingerprintAlone(path, set); err != nil {
		return 0, err
	}
	b, err := baseline.Load(path)
	if err != nil {
		return 0, err
	}
	if b.Kept != nil {
		return 0, fmt.Errorf("%s is of the session beside it: accept for the folder %s", path, filepath.Dir(path))
	}
	s, err := foreign.Open(dir)
	if err != nil {
		return 0, err
	}
	out, err := newOutput(path, nil)
	if err != nil {
		return 0, err
	}
	defer out.abort()
	p, unfit, err := takePrint(ctx, s, b)
	if err != nil {
		return 0, err
	}
	r, err := b.Check(dir, p)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	if err := written(r.WriteText(stdout, path, b)); err != nil {
		return 0, err
	}
	less := len(r.Missing)+len(r.Skipped)+len(r.Unreadable) > 0 || r.Compared == 0
	if why := f.refusal(unfit, less, r.Verdict == report.Pass); why != "" {
		_, err := fmt.Fprintf(stdout, "Not accepted, %s is as it was: %s.\n", path, why)
		return max(1, r.ExitCode()), written(err)
	}
	e.Reason, e.DespiteGap = f.reason, r.First
	b.History, b.Tensors = append(b.History, e), p.Tensors
	if err := writeBaseline(out, b); err != nil {
		return 0, err
	}
	_, err = fmt.Fprintf(stdout, "Accepted: %s is now that of %s.\n", path, e.Session)
	return 0, written(err)
}

// refusal says why a session must not replace the baseline, "" if it may: less
// is for one that lacks something the baseline holds.
func (f *baselineFlags) refusal(unfit string, less, passes bool) string {
	switch {
	case unfit != "":
		return "the session is not fit for a baseline: " + unfit
	case less:
		return "the session holds less, or other, than the baseline; save a new one where that is meant"
	case !passes && !f.despiteGap:
		return "the check does not pass; --despite-gap accepts the difference"
	}
	return ""
}
