package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/render"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/foreign"
	"github.com/ilref/ilref/internal/cli"
	"github.com/ilref/ilref/internal/progress"
)

const long = `Ildiff compares two sessions of intermediate tensors (vLLM's intermediate logging,
or ilref run) and names the first module that is wrong.

REFERENCE and TARGET are session directories: those that hold step_0, step_1, …
(one that is named as a command is given by a path, ./lint), or dumps of SGLang
(dumper, PassNNNNN.pt), msprobe, vllm-neuron or vLLM's hidden states, as they are.
Tensors are paired by step, module, call, direction and slot, never by device or
file name. Before that both sessions are made alike: tensor-parallel ranks are put
together, rows are matched by request and position where the sessions lay out
their tokens in other ways (padding, chunks, batches, cached prefixes, draft
tokens, step numbers), modules of transformers get vLLM's names, and logits lose the
padding of the vocabulary. Steps are those of the reference. The table has one line a
module call in execution order: the gap of its worst output and of its worst input.
Below it stands where the sessions first part, and why.

By default a module fails when its output has a gap that rounding and the gap of
its inputs do not explain; another order of summation passes. With any of --rtol,
--atol, --max-abs, --min-cosine and --max-rel-l2 every tensor must keep to the
given bounds instead.

--replay or --model judge each module by what the right model returns for the
target's own recorded inputs, so that a fault is named wherever it is, however
far another has spread. --oracle and --floor judge by how many times farther the
target is from exact values than correct rounding is. Calls that these sessions
lack are judged between the two sessions, and listed. See docs/verdicts.md.

Exit codes:
  0  everything was compared and is within tolerance
  1  a gap: a module or a bound fails, or the sessions ran other tokens
  2  usage, or a session that cannot be read, or sessions of different models
  3  no gap, but nothing or too little was comparable: tensors that are missing,
     skipped or unreadable leave less than --min-coverage
  70  an internal error: a fault of the program, to be reported
  130  interrupted`

const examples = `  ildiff gpu-session cpu-session
  ildiff A B --steps 0,2-4 --modules 'layers\.0\.' --modules 'model\.norm'
  ildiff A B --max-rel-l2 1e-2 --min-cosine 0.999
  ildiff A B --model ./Llama-3.2-1B
  ildiff A B --oracle S64 --floor SEMU
  ildiff A B --format json -o report.json
  ildiff A B --shard 1/2 -o part-1.json
  ildiff A B --format html -o report.html --format junit -o junit.xml --format text`

// colors are the values of --color.
var colors = []string{"auto", "always", "never"}

// flags holds the values of the command line.
type flags struct {
	steps, color, mapFile                       string
	formats, outputs                            []string
	policy                                      string
	modules                                     []string
	rtol, atol, maxAbs, minCosine, maxRelL2, mc number
	clip                                        number
	all                                         bool
	stepOffset                                  offset
	shard                                       string
	evidence                                    evidenceFlags
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return cli.Execute("ildiff", stdout, stderr, func(stdout io.Writer) (code int, err error) {
		cmd := newRoot(&code, stdout, stderr)
		cmd.SetArgs(args)
		err = cmd.ExecuteContext(ctx)
		return code, err
	})
}

// newRoot is the command line. Exit codes other than those of errors go to code.
func newRoot(code *int, stdout, stderr io.Writer) *cobra.Command {
	cmd := newCommand(func(cmd *cobra.Command, f *flags, args []string) (err error) {
		if f.shard != "" {
			return measurePart(cmd.Context(), f, cmd.Flags(), args[0], args[1], stdout, stderr)
		}
		*code, err = diff(cmd.Context(), f, args[0], args[1], nil, stdout, stderr)
		return err
	})
	addLint(cmd, code, stdout)
	addMap(cmd, stdout)
	addConvert(cmd, stdout, stderr)
	addSuggest(cmd, stdout)
	addBaseline(cmd, code, stdout, stderr)
	addMerge(cmd, code, stdout, stderr)
	complete(cmd)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	return cmd
}

func newCommand(do func(*cobra.Command, *flags, []string) error) *cobra.Command {
	f := newFlags()
	cmd := &cobra.Command{
		Use:     "ildiff REFERENCE TARGET",
		Short:   "compare two intermediate-logging sessions",
		Long:    long,
		Example: examples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("want two session directories, the reference and the target, but got %d (see ildiff --help)", len(args))
			}
			return nil
		},
		RunE:                  func(cmd *cobra.Command, args []string) error { return do(cmd, f, args) },
		SilenceUsage:          true,
		SilenceErrors:         true,
		DisableFlagsInUseLine: true,
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.steps, "steps", "", "compare the steps of `LIST` only: numbers and ranges, as in 0,2-4")
	fs.StringArrayVar(&f.modules, "modules", nil, "compare modules whose name the Python `REGEX` matches anywhere (repeatable)")
	f.addJudging(fs)
	fs.StringVar(&f.shard, "shard", "", "measure one of n parts (`I/N`, as in 2/7) and write its report for ildiff merge (see docs/shards.md)")
	f.addReports(fs)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fmt.Errorf("%w (see ildiff --help)", err)
	})
	return cmd
}

func newFlags() *flags {
	return &flags{
		mc:        number{v: 100, low: 0, high: 100},
		minCosine: number{low: -1, high: 1},
		rtol:      nonNegative, atol: nonNegative, maxAbs: nonNegative, maxRelL2: nonNegative, clip: nonNegative,
	}
}

// addJudging adds the flags that say how tensors are lined up and judged.
func (f *flags) addJudging(fs *pflag.FlagSet) {
	fs.Var(&f.stepOffset, "step-offset", "compare step n of the target with step n+`N` of the reference, instead of matching rows by request and position")
	fs.StringVar(&f.mapFile, "map", "", "names of the target's modules for the reference's, from `FILE` (see ildiff map --help)")
	f.evidence.add(fs)
	fs.Var(&f.rtol, "rtol", "bound: |target-reference| <= atol + rtol*|reference| for every value")
	fs.Var(&f.atol, "atol", "bound: see --rtol; of the two, one alone takes the other from torch's default for the type")
	fs.Var(&f.maxAbs, "max-abs", "bound: largest difference of any value")
	fs.Var(&f.minCosine, "min-cosine", "bound: least cosine similarity of a tensor")
	fs.Var(&f.maxRelL2, "max-rel-l2", "bound: largest |target-reference|/|reference| of a tensor, in the Euclidean norm")
	fs.StringVar(&f.policy, "policy", "", "judge by the rules of `FILE`: bounds and skips for single tensors (see ildiff suggest --help)")
	fs.Var(&f.clip, "clip", "ε of the clip range [1-ε, 1+ε] that importance ratios are counted outside of (default 0.2; see docs/trainer-and-rollout.md)")
	fs.Var(&f.mc, "min-coverage", "least share of the tensors of both sessions that must be compared, in percent")
}

// addReports adds the flags that say what is written of it, and where.
func (f *flags) addReports(fs *pflag.FlagSet) {
	fs.BoolVar(&f.all, "all", false, "a line for every tensor instead of every module call")
	fs.StringArrayVar(&f.formats, "format", nil, "report as text, json, markdown, junit or html (`FORMAT`; repeatable, default text)")
	fs.StringArrayVarP(&f.outputs, "output", "o", nil, "write the report to `FILE` instead of stdout; the n-th is that of the n-th --format")
	fs.StringVar(&f.color, "color", "auto", "colours `WHEN`: auto, always or never (auto: on a terminal, unless NO_COLOR is set)")
}

// diff compares two sessions, writes the report and returns its exit code. Where
// look is given and does not like the report, nothing is written.
func diff(ctx context.Context, f *flags, refDir, targetDir string, look func(*report.Report) error, stdout, stderr io.Writer) (int, error) {
	opts, err := f.options()
	if err != nil {
		return 0, err
	}
	out, err := f.open(stdout)
	if err != nil {
		return 0, err
	}
	defer out.abort()
	ref, target, err := openBoth(refDir, targetDir)
	if err != nil {
		return 0, err
	}
	remove, err := f.evidence.open(ctx, ref, target, opts, nil, stderr)
	defer remove()
	if err != nil {
		return 0, err
	}
	var reread rereader
	opts.Prepared = func(ref, target *il.Session) { reread = render.Sessions(ref, target) }
	line := progress.New(stderr)
	opts.Progress = func(done, total int) { line.Update(done, total, "tensors compared") }
	report, err := compare.SessionsContext(ctx, ref, target, *opts)
	line.Done()
	if err != nil {
		return 0, err
	}
	captures, err := lintSides(ctx, ref, target)
	if err != nil {
		return 0, err
	}
	report.Warnings = append(captures.warnings(ref, target), report.Warnings...)
	if look != nil {
		if err := look(report); err != nil {
			return 0, err
		}
	}
	err = out.write(report, f, func() (render.Options, error) {
		return render.Options{Bounds: opts.Bounds, Lint: captures.findings(), Reread: reread}, nil
	})
	return report.ExitCode(), err
}

func openBoth(refDir, targetDir string) (ref, target *il.Session, err error) {
	if ref, err = foreign.Open(refDir); err != nil {
		return nil, nil, err
	}
	target, err = foreign.Open(targetDir)
	return ref, target, err
}

func (f *flags) options() (*compare.Options, error) {
	if err := f.checkColor(); err != nil {
		return nil, err
	}
	o := &compare.Options{Modules: f.modules, MinCoverage: f.mc.given(), Clip: f.clip.given(), Bounds: report.Bounds{
		RTol: f.rtol.given(), ATol: f.atol.given(), MaxAbs: f.maxAbs.given(), MinCosine: f.minCosine.given(), MaxRelL2: f.maxRelL2.given(),
	}}
	err := f.evidence.check()
	if err != nil {
		return nil, err
	}
	if o.View, err = f.view(); err != nil {
		return nil, err
	}
	if err := f.withPolicy(o); err != nil {
		return nil, err
	}
	if f.steps == "" {
		return o, nil
	}
	steps, err := report.ParseSteps(f.steps)
	if err != nil {
		return nil, fmt.Errorf("--%w", err)
	}
	o.Steps = steps
	return o, nil
}

func (f *flags) checkColor() error {
	if !slices.Contains(colors, f.color) {
		return fmt.Errorf("--color %q: want one of %s", f.color, strings.Join(colors, ", "))
	}
	return nil
}
