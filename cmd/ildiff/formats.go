package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ilref/ilref/compare/render"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/internal/terminal"
	"github.com/ilref/ilref/tensor"
)

var formats = []string{"text", "json", "markdown", "junit", "html"}

// reports are the formats that were asked for, each with where it goes.
type reports []oneReport

type oneReport struct {
	format, file string // file is "" for stdout
	*output
}

// rendered reports whether package render writes the format.
func (r oneReport) rendered() bool { return render.Formats[r.format] != nil }

func (r oneReport) isHTML() bool { return r.format == "html" }

// wanted returns the formats of the reports: the n-th --format is for the n-th
// -o, and one may be without.
func (f *flags) wanted() ([]string, error) {
	wanted := f.formats
	if len(wanted) == 0 {
		wanted = []string{"text"}
	}
	for _, format := range wanted {
		if !slices.Contains(formats, format) {
			return nil, fmt.Errorf("--format %q: want one of %s", format, strings.Join(formats, ", "))
		}
	}
	switch n := len(wanted) - len(f.outputs); {
	case n < 0:
		return nil, fmt.Errorf("--format is given %d times and -o %d times: the n-th -o is the file of the n-th --format, so give each a --format", len(f.formats), len(f.outputs))
	case n > 1:
		return nil, fmt.Errorf("--format is given %d times and -o %d times: one report alone can go to stdout, so give all but the last a file, as in --format html -o report.html --format text", len(f.formats), len(f.outputs))
	}
	return wanted, nil
}

// open opens what the reports go to, the one without -o to stdout.
func (f *flags) open(stdout io.Writer) (out reports, err error) {
	wanted, err := f.wanted()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			out.abort()
		}
	}()
	for i, format := range wanted {
		file := ""
		if i < len(f.outputs) {
			file = f.outputs[i]
			if slices.Contains(f.outputs[:i], file) {
				return out, fmt.Errorf("-o %s: two reports for one file", file)
			}
		}
		o, err := newOutput(file, stdout)
		if err != nil {
			return out, err
		}
		out = append(out, oneReport{format, file, o})
	}
	return out, nil
}

func (rs reports) abort() {
	for _, r := range rs {
		r.output.abort()
	}
}

// write writes every report. No file appears before all are complete. options
// gives what the reports for people show beside the comparison.
func (rs reports) write(r *report.Report, f *flags, options func() (render.Options, error)) (err error) {
	var o render.Options
	if slices.ContainsFunc(rs, oneReport.rendered) {
		if o, err = options(); err != nil {
			return err
		}
	}
	for _, x := range rs {
		switch x.format {
		case "text":
			err = render.Text(x, r, render.TextOptions{All: f.all, Color: terminal.Color(x.Writer, f.color), Width: terminal.Width(x.Writer)})
		case "json":
			err = render.JSON(x, r)
		default:
			err = render.Formats[x.format](x, r, o)
		}
		if err != nil {
			return writeError(x.file, err)
		}
	}
	for _, x := range rs {
		if err := x.commit(); err != nil {
			return writeError(x.file, err)
		}
	}
	return nil
}

func writeError(file string, err error) error {
	if file != "" {
		return cannotWrite(file, err)
	}
	return fmt.Errorf("cannot write the report: %w", err)
}

// rereader gives the reports the tensors themselves (render.Options).
type rereader = func(t *report.TensorDiff, f func(reference, target *tensor.Tensor) error) error
