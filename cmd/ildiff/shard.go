package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/partial"
	"github.com/ilref/ilref/compare/shard"
	"github.com/ilref/ilref/internal/cli"
	"github.com/ilref/ilref/internal/progress"
	"github.com/ilref/ilref/internal/sidefile"
)

// measurePart measures one part of a comparison and writes its report. It
// reaches no verdict.
func measurePart(ctx context.Context, f *flags, given *pflag.FlagSet, refDir, targetDir string, stdout, stderr io.Writer) error {
	part, err := shard.Parse(f.shard)
	if err != nil {
		return fmt.Errorf("--shard %w", err)
	}
	if f.all || len(f.formats) > 1 || len(f.formats) == 1 && f.formats[0] != "json" {
		return errors.New("--shard with --format or --all: a part's report is JSON for ildiff merge, which takes these flags")
	}
	f.formats = []string{"json"}
	opts, err := f.options()
	if err != nil {
		return err
	}
	out, err := f.open(stdout)
	if err != nil {
		return err
	}
	defer out.abort()
	ref, target, err := openBoth(refDir, targetDir)
	if err != nil {
		return err
	}
	named, err := opts.View.Map.Rename(ref, target)
	if err != nil {
		return err
	}
	remove, err := f.evidence.open(ctx, ref, target, opts, partial.OwnCalls(part, named), stderr)
	defer remove()
	if err != nil {
		return err
	}
	line := progress.New(stderr)
	opts.Progress = func(done, total int) { line.Update(done, total, "tensors compared") }
	p, err := compare.MeasurePart(ctx, ref, target, *opts, part)
	line.Done()
	if err != nil {
		return err
	}
	p.Version = cli.Version()
	if p.Options, err = request(given, opts.Evidence); err != nil {
		return err
	}
	if part.Index == 1 { // one is enough
		captures, err := lintSides(ctx, ref, target)
		if err != nil {
			return err
		}
		p.Warnings = captures.warnings(ref, target)
		for _, x := range captures.findings() {
			p.Findings = append(p.Findings, partial.Finding(x))
		}
	}
	if err := partial.Write(out[0], p); err != nil {
		return writeError(out[0].file, err)
	}
	if err := out[0].commit(); err != nil {
		return writeError(out[0].file, err)
	}
	tell(p, stderr)
	return nil
}

// tell says what was done, and what is to be done.
func tell(p *partial.Report, stderr io.Writer) {
	tensors, total := 0, 0
	for _, c := range p.Calls {
		tensors += len(c.Slots)
	}
	for _, f := range p.Forwards {
		total += f.Calls
	}
	for _, m := range p.Evidence {
		if m.Tensors == 0 && tensors > 0 {
			fmt.Fprintf(stderr, "ildiff: %s: --%s %s tells nothing of these tensors: is it that of another part?\n", p.Shard, m.Name, m.Dir)
		}
	}
	what := fmt.Sprintf("%d tensors of %d of the %d module calls", tensors, len(p.Calls), total)
	if len(p.Calls) == 0 {
		what = "no module call is left for it"
	}
	fmt.Fprintf(stderr, "ildiff: %s: %s; ildiff merge of all parts gives the verdict\n", p.Shard, what)
}

// maxPolicyOrMap is more than either may have.
const maxPolicyOrMap = 32 << 20

// request is what changes the outcome of a comparison: the flags that were
// given, and instead of the paths of files what is in them.
func request(given *pflag.FlagSet, e compare.Evidence) (map[string]string, error) {
	out := map[string]string{}
	var failed error
	given.Visit(func(x *pflag.Flag) {
		switch name := x.Name; name {
		case "shard", "output", "format", "color", "all":
		case "policy", "map":
			b, err := sidefile.ReadNamed(x.Value.String(), maxPolicyOrMap)
			if err != nil {
				failed = err
			}
			out[name] = fmt.Sprintf("sha256:%x", sha256.Sum256(b))
		case "replay": // each part may have its own
			out[name] = "SESSION"
		case "model":
			out[name] = "DIR"
		case "oracle":
			out[name] = e.Oracle.Fingerprint()
		case "floor":
			out[name] = e.Floor.Fingerprint()
		default:
			out[name] = x.Value.String()
		}
	})
	return out, failed
}
