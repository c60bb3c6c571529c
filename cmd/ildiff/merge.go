package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/partial"
	"github.com/ilref/ilref/compare/render"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/internal/cli"
	"github.com/ilref/ilref/internal/sidefile"
)

const mergeLong = `Merge puts the reports of all parts of a comparison (ildiff --shard) together and
judges it. Reports and exit code are those of the whole, byte for byte. The parts
may come in any order; one that is missing, doubled or of another comparison is
refused.

The sessions need not be at hand, but the HTML report shows the values of failing
tensors only where it can read them at the paths that the parts were given.

Exit codes are those of ildiff: 0 within tolerance, 1 a gap, 2 usage or a part
that cannot be used, 3 too little was comparable.`

// addMerge makes "ildiff merge REPORT…" part of ildiff.
func addMerge(root *cobra.Command, code *int, stdout, stderr io.Writer) {
	f := &flags{}
	cmd := &cobra.Command{
		Use:     "merge REPORT...",
		Short:   "put the reports of all parts together into one verdict",
		Long:    mergeLong,
		Example: "  ildiff A B --shard 1/2 -o part-1.json\n  ildiff A B --shard 2/2 -o part-2.json\n  ildiff merge part-1.json part-2.json --format markdown",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("merge: want the reports of all parts, but got none (see ildiff merge --help)")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) (err error) {
			*code, err = mergeParts(f, args, stdout, stderr)
			return err
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().SortFlags = false
	f.addReports(cmd.Flags())
	root.AddCommand(cmd)
}

func mergeParts(f *flags, files []string, stdout, stderr io.Writer) (int, error) {
	if err := f.checkColor(); err != nil {
		return 0, err
	}
	out, err := f.open(stdout)
	if err != nil {
		return 0, err
	}
	defer out.abort()
	var parts []*partial.Report
	for _, name := range files {
		p, err := readPart(name)
		if err != nil {
			return 0, err
		}
		parts = append(parts, p)
	}
	whole, err := compare.Merge(parts)
	if err != nil {
		return 0, err
	}
	first := parts[slices.IndexFunc(parts, func(p *partial.Report) bool { return p.Shard.Index == 1 })]
	err = out.write(whole, f, func() (render.Options, error) {
		o := render.Options{Bounds: first.Bounds}
		for _, x := range first.Findings {
			o.Lint = append(o.Lint, render.Finding(x))
		}
		if slices.ContainsFunc(out, oneReport.isHTML) && whole.Verdict == report.Fail {
			if o.Reread, err = rereadPart(first); err != nil {
				fmt.Fprintln(stderr, "ildiff: the HTML report shows no values of failing tensors:", cli.OneLine(err))
			}
		}
		return o, nil
	})
	return whole.ExitCode(), err
}

// maxPart bounds the report of a part, which is read whole.
const maxPart = 1 << 30

func readPart(name string) (*partial.Report, error) {
	data, err := sidefile.ReadJSON(name, maxPart)
	if errors.Is(err, sidefile.ErrNotObject) {
		return nil, fmt.Errorf("%s: is no report of a part: it is no JSON object", name)
	}
	if err != nil {
		return nil, err
	}
	return partial.Read(bytes.NewReader(data), name)
}

// rereadPart opens the sessions that the parts have measured.
func rereadPart(p *partial.Report) (rereader, error) {
	ref, target, err := openBoth(p.Reference.Dir, p.Target.Dir)
	if err != nil {
		return nil, err
	}
	if p.Options["map"] != "" {
		return nil, errors.New("they were compared with --map, which merge does not have")
	}
	o := normalize.Options{Canonical: len(p.Evidence) > 0} // as compare names them
	if s := p.Options["step-offset"]; s != "" {
		var n offset
		if err := n.Set(s); err != nil {
			return nil, err
		}
		o.StepOffset = &n.v
	}
	for _, s := range []struct {
		dir, want, got string
	}{{ref.Dir, p.Reference.Fingerprint, ref.Fingerprint()}, {target.Dir, p.Target.Fingerprint, target.Fingerprint()}} {
		if s.want != s.got {
			return nil, fmt.Errorf("%s is not the session that the parts have measured", s.dir)
		}
	}
	a, b, _, err := normalize.Prepare(ref, target, o)
	if err != nil {
		return nil, err
	}
	return render.Sessions(a, b), nil
}
