package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ilref/ilref/compare/render"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/foreign"
	"github.com/ilref/ilref/il/lint"
	"github.com/ilref/ilref/internal/terminal"
)

const lintLong = `Lint checks one session as a recording, before any number of it is compared:
files that are missing, cut short or contradict each other, tensors that must be
equal to the bit and are not (a layer's output and the next one's input), buffers
that were saved twice, ranks that differ, NaN and where it begins, steps and
positions that do not follow on each other, a run that has not ended.

Exit codes:
  0  no error: clean, or nothing but infos and warnings
  1  errors: figures of the tensors they name mean nothing
  2  usage, or not a session
  130  interrupted`

var lintFormats = []string{"text", "json"}

// addLint makes "ildiff lint SESSION" part of ildiff. Its exit code goes to
// code.
func addLint(root *cobra.Command, code *int, stdout io.Writer) {
	var format, path string
	cmd := &cobra.Command{
		Use:     "lint SESSION",
		Short:   "check one session as a recording",
		Long:    lintLong,
		Example: "  ildiff lint gpu-session\n  ildiff lint gpu-session --format json -o lint.json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("lint: want one session directory, but got %d (see ildiff lint --help)", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if !slices.Contains(lintFormats, format) {
				return fmt.Errorf("--format %q: want one of %s", format, strings.Join(lintFormats, ", "))
			}
			*code, err = lintSession(cmd.Context(), args[0], format, path, stdout)
			return err
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&format, "format", "text", "findings as text or json (`FORMAT`)")
	cmd.Flags().StringVarP(&path, "output", "o", "", "write the findings to `FILE` instead of stdout")
	root.AddCommand(cmd)
}

func lintSession(ctx context.Context, dir, format, path string, stdout io.Writer) (int, error) {
	out, err := newOutput(path, stdout)
	if err != nil {
		return 0, err
	}
	defer out.abort()
	s, err := foreign.Open(dir)
	if err != nil {
		return 0, err
	}
	r, err := lint.Session(ctx, s, lint.Options{})
	if err != nil {
		return 0, err
	}
	if format == "json" {
		err = lint.WriteJSON(out, r)
	} else {
		err = lint.WriteText(out, r, terminal.Color(out.Writer, "auto"))
	}
	if err == nil {
		err = out.commit()
	}
	switch {
	case err != nil && path != "":
		return 0, cannotWrite(path, err)
	case err != nil:
		return 0, fmt.Errorf("cannot write the findings: %w", err)
	case r.Count(lint.Error) > 0:
		return 1, nil
	}
	return 0, nil
}

// capture is what lint finds in one side of a comparison without reading
// values, as ildiff lint does.
type capture struct {
	side string
	*lint.Result
}

type captures []capture

// lintSides is for after a comparison, when the files are in memory.
func lintSides(ctx context.Context, ref, target *il.Session) (captures, error) {
	captures := captures{{side: "reference"}, {side: "target"}}
	for i, s := range []*il.Session{ref, target} {
		found, err := lint.Session(ctx, s, lint.Options{NoValues: true})
		if err != nil {
			return nil, err
		}
		captures[i].Result = found
	}
	return captures, nil
}

// warnings are what is to be known before the numbers, a line for each side
// whose recording is wrong.
func (cs captures) warnings(ref, target *il.Session) (out []string) {
	if sameDirectory(ref.Dir, target.Dir) {
		out = append(out, "reference and target are one directory: they cannot differ")
	}
	for _, c := range cs {
		if s := c.faults(); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func sameDirectory(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// findings are those that the reports for people show.
func (cs captures) findings() (out []render.Finding) {
	for _, c := range cs {
		for _, x := range c.Findings {
			if x.Severity != lint.Info {
				out = append(out, render.Finding{Severity: string(x.Severity), Message: c.side + ": " + x.Message})
			}
		}
	}
	return out
}

// faults is a line on what is wrong with the recording, "" for nothing. It
// leaves out what a comparison lists by itself.
func (c capture) faults() string {
	n, first := 0, ""
	for _, f := range c.Findings {
		if f.Severity != lint.Error || strings.HasPrefix(f.Rule, "unreadable-") {
			continue
		}
		if n++; n == 1 {
			first = f.Message
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s: the recording has %d faults (ildiff lint %s lists them), first: %s", c.side, n, c.Dir, first)
}
