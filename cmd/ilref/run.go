package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/foreign"
	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/internal/mmap"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/internal/progress"
	"github.com/ilref/ilref/internal/terminal"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/gopher1m"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/ref/evidence"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// runFlags are the flags of `ilref run`.
type runFlags struct {
	model            string
	configPath       string
	config           string
	quirks           string
	promptIDs        []string
	prompts          []string
	promptFile       string
	chat             string
	like             string
	diff             string
	maxTokens        int
	maxBatchedTokens int
	maxModelLen      int
	dtype            string
	rounding         string
	deviceLabel      string
	outputDir        string
	sessionID        string
	threads          int
	color            string
	dynamicRope      string
	stop             []string
	logprobs         int
	withFloor        bool
	sampling         ref.Sampling

	recorded *il.Session // that is run again, once it is open; nil for none
}

func newRunCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags]",
		Short: "Run a model and log its intermediate tensors",
		Long: `Run a checkpoint on prompts, or on the tokens of a recorded session (--like), and
log the modules' inputs and outputs as the il config says. The session's path,
the generated tokens and their text go to standard output.

With --like and --diff dtype and rounding are those of the engine that the
session says it is of (session.json, see docs/format.md), unless they are given.

Without --model the bundled gopher-1m runs, a Llama of one million parameters
for Go source. Without an il config nothing is logged, except that --like and
--diff log what the given session holds.

Exit codes: 0 done (with --diff: within tolerance), 1 --diff found a gap,
2 usage or input or output error, 3 --diff found too little to compare,
70 an internal error, a fault of the program to be reported, 130 interrupted.

` + profilesHelp(),
		Example: `  # generate with the bundled model
  ilref run --prompt 'func main() {' --max-tokens 8

  # log a run of a checkpoint
  ilref run --model ./Llama-3.2-1B --il-config-path cfg.json --prompt 'Hello' --max-tokens 4

  # run the tokens of a GPU session again and compare
  ilref run --model ./Llama-3.2-1B --diff gpu-session`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runModel(cmd.Context(), &f, cmd.Flags(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.model, "model", "", "checkpoint `DIR` in Hugging Face's form (default: the bundled gopher-1m)")
	fl.StringVar(&f.configPath, "il-config-path", "", "il config `FILE`, the JSON that vLLM's intermediate logging takes")
	fl.StringVar(&f.config, "il-config", "", "il config as `JSON`")
	fl.StringVar(&f.quirks, "il-quirks", "", "select modules and calls with the bugs of `WHOSE` logger: vllm, or none")
	fl.StringArrayVar(&f.promptIDs, "prompt-ids", nil, "token `IDS` of a prompt, comma-separated; repeat for a batch")
	fl.StringArrayVar(&f.prompts, "prompt", nil, "`TEXT` of a prompt; repeat for a batch")
	fl.StringVar(&f.promptFile, "prompt-file", "", "`FILE` with one prompt, or JSONL with a prompt or prompt_token_ids a line")
	fl.StringVar(&f.chat, "chat", "", "`FILE` with a JSON list of messages for the model's chat template, or JSONL with a list a line")
	fl.StringVar(&f.like, "like", "", "re-run the tokens, positions and steps of a `SESSION`")
	fl.StringVar(&f.diff, "diff", "", "as --like, then compare the `SESSION` with the run, which is the reference, and judge each of its modules by its own recorded inputs")
	fl.BoolVar(&f.withFloor, "with-floor", false, "with --like or --diff: also make the float64 session that measures rounding (ildiff --oracle, --floor)")
	fl.IntVar(&f.maxTokens, "max-tokens", 16, "`N` tokens to generate for each prompt at most")
	fl.StringArrayVar(&f.stop, "stop", nil, "end a request before this `TEXT`; repeatable")
	fl.Float64Var(&f.sampling.Temperature, "temperature", 0, "sample with temperature `T`; 0 is greedy")
	fl.IntVar(&f.sampling.TopK, "top-k", 0, "sample among the `K` most likely tokens; 0 is all")
	fl.Float64Var(&f.sampling.TopP, "top-p", 1, "sample among the most likely tokens that together have probability `P`")
	fl.Uint64Var(&f.sampling.Seed, "seed", 0, "`SEED` of the sampling")
	fl.IntVar(&f.logprobs, "logprobs", 0, "print the `N` most likely tokens at each position")
	fl.IntVar(&f.maxBatchedTokens, "max-num-batched-tokens", 8192, "`N` rows in a step at most; longer prompts run in chunks")
	fl.IntVar(&f.maxModelLen, "max-model-len", 0, "`N` positions of a request at most (default: the model's)")
	fl.StringVar(&f.dtype, "dtype", "auto", "`TYPE` to compute in: auto (the checkpoint's), float64, float32, bfloat16 or float16")
	arithmeticFlags(fl, &f)
	fl.StringVar(&f.deviceLabel, "device-label", "", "device `LABEL` of the logged tensors, such as cuda:0 (default: the config's first device_names, or cpu)")
	fl.StringVar(&f.outputDir, "output-dir", "", "`DIR` for the session (default: the config's output_dir)")
	fl.StringVar(&f.sessionID, "session-id", "", "`NAME` of the session's directory (default: a random UUID)")
	threadsFlag(fl, &f.threads)
	fl.StringVar(&f.color, "color", "auto", "colour the table of --diff: `WHEN` auto, always or never")
	fl.SetNormalizeFunc(aliases)
	return cmd
}

// auto is what a flag leaves to the session or the checkpoint.
const auto = "auto"

func arithmeticFlags(fl *pflag.FlagSet, f *runFlags) {
	fl.StringVar(&f.rounding, "rounding", auto, "rounding points of the half types: the kernels of `PROFILE` vllm-2025, vllm-2026, transformers (sdpa attention) or transformers-eager; auto is the session's engine, else vllm-2025")
	fl.StringVar(&f.dynamicRope, "dynamic-rope", auto, "`RULE` of dynamic and longrope scaling: vllm (one for all lengths) or transformers (by the length so far); auto is that of --rounding")
}

// profilesHelp lists the profiles of --rounding.
func profilesHelp() string {
	var b strings.Builder
	b.WriteString("Profiles of --rounding (docs/rounding.md has their points and sources):")
	for _, r := range nn.Roundings() {
		fmt.Fprintf(&b, "\n  %-18s %s", r, r.What())
	}
	return b.String()
}

func threadsFlag(fl *pflag.FlagSet, n *int) {
	fl.IntVar(n, "threads", runtime.NumCPU(), "`N` threads to compute with; the result does not depend on it")
	fl.Lookup("threads").DefValue = "one a CPU"
}

// aliases accepts the names of vLLM's own options too.
func aliases(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	switch name {
	case "intermediate-log-config":
		name = "il-config"
	case "intermediate-log-config-path":
		name = "il-config-path"
	}
	return pflag.NormalizedName(name)
}

// runModel is `ilref run`: open everything, check everything, then compute.
func runModel(ctx context.Context, f *runFlags, set *pflag.FlagSet, stdout, stderr io.Writer) error {
	if err := f.check(set); err != nil {
		return err
	}
	ckpt, err := openModel(f.model, stderr)
	if err != nil {
		return err
	}
	defer ckpt.Close()
	if dir := f.session(); dir != "" {
		if f.recorded, err = foreign.Open(dir); err != nil {
			return err
		}
		warn(stderr, f.recorded.Warnings...)
		f.takeArithmetic(ckpt.Config.DType, stderr)
	}
	f.settle()
	engine, dtype, err := newEngine(ckpt, f, stderr)
	if err != nil {
		return err
	}
	if f.withFloor && dtype == tensor.Float64 {
		return errors.New("--with-floor measures the rounding of --dtype against float64, which has none: choose the session's dtype")
	}
	job, err := f.job(engine, ckpt, dtype, stderr)
	if err != nil {
		return err
	}
	session, err := f.execute(ctx, engine, ckpt, job, "session", stdout, stderr)
	if err != nil {
		return err
	}
	var oracle string
	if f.withFloor {
		if oracle, err = f.oracle(ctx, ckpt, job, stdout, stderr); err != nil {
			return err
		}
	}
	if f.diff != "" {
		return f.compare(ctx, ckpt, job, session, oracle, stdout, stderr)
	}
	return nil
}

// execute computes the job, logs it, and returns the session's directory, ""
// where nothing is logged. what names the session on standard output.
func (f *runFlags) execute(ctx context.Context, engine *ref.Engine, ckpt *model.Checkpoint, job *job, what string, stdout, stderr io.Writer) (string, error) {
	made, err := f.provenance(provenance.Rerun, job.recorded, ckpt, engine)
	if err != nil {
		return "", err
	}
	logger, err := f.logger(engine.Model, job.like, made, stderr)
	if err != nil {
		return "", err
	}
	dir := ""
	if logger != nil {
		engine.Hooks, dir = logger, logger.Dir()
		fmt.Fprintln(stdout, what, dir)
	}
	line := progress.New(stderr)
	err = mmap.Guard(ckpt.Name, func() error {
		return job.run(ctx, engine, stdout, func(step, rows, done, total int) {
			line.Update(done, total, fmt.Sprintf("step %d, %d rows", step, rows))
		})
	})
	line.Done()
	if logger == nil {
		return dir, err
	}
	if err = logger.Finish(err); err != nil { // what was computed is written
		return dir, err
	}
	warn(stderr, logger.Warnings()...)
	if logger.Logged() == 0 {
		warn(stderr, dir+": nothing was logged: the run has none of the steps of log_step_ids")
	}
	return dir, nil
}

// oracle computes the job once more in float64. The run that was just made,
// with the target's rounding, and this one together measure how far rounding
// alone carries each tensor.
func (f *runFlags) oracle(ctx context.Context, ckpt *model.Checkpoint, job *job, stdout, stderr io.Writer) (string, error) {
	g := *f
	g.dtype = tensor.Float64.String()
	if g.sessionID != "" {
		g.sessionID += "-oracle"
	}
	engine, _, err := newEngine(ckpt, &g, io.Discard)
	if err != nil {
		return "", err
	}
	return g.execute(ctx, engine, ckpt, job.quiet(), "oracle", stdout, stderr)
}

// check refuses flags that contradict each other, before anything is opened.
func (f *runFlags) check(set *pflag.FlagSet) error {
	if err := f.checkWords(); err != nil {
		return err
	}
	for _, check := range []func(*pflag.FlagSet) error{f.checkSources, f.checkSampling, f.checkCounts, f.checkLike} {
		if err := check(set); err != nil {
			return err
		}
	}
	return nil
}

// checkSources tests where the tokens come from.
func (f *runFlags) checkSources(*pflag.FlagSet) error {
	texts := given(len(f.prompts) > 0, f.promptFile != "", f.chat != "")
	sources := texts + given(len(f.promptIDs) > 0)
	session := f.session() != ""
	switch {
	case f.like != "" && f.diff != "":
		return errors.New("--like and --diff both name a session: give one of them")
	case f.config != "" && f.configPath != "":
		return errors.New("--il-config and --il-config-path are both given: give one of them")
	case sources > 1:
		return errors.New("of --prompt, --prompt-ids, --prompt-file and --chat several are given: give one of them")
	case session && texts > 0:
		return errors.New("--prompt, --prompt-file and --chat cannot be combined with --like or --diff: the session has the tokens")
	case sources == 0 && !session:
		return errors.New("nothing to run: give --prompt, --prompt-ids, --prompt-file, --chat, --like or --diff (see ilref run --help)")
	case f.withFloor && !session:
		return errors.New("--with-floor needs --like or --diff: it measures the rounding on a session's tokens")
	}
	return nil
}

// given counts what is.
func given(flags ...bool) int {
	n := 0
	for _, f := range flags {
		if f {
			n++
		}
	}
	return n
}

// checkSampling tests how tokens are chosen.
func (f *runFlags) checkSampling(*pflag.FlagSet) error {
	switch s := f.sampling; {
	case !(s.Temperature >= 0) || math.IsInf(s.Temperature, 1): // NaN is neither
		return fmt.Errorf("--temperature %v: expected 0 (greedy) or more", s.Temperature)
	case s.TopK < 0:
		return fmt.Errorf("--top-k %d: expected 0 (all) or more", s.TopK)
	case !(s.TopP > 0 && s.TopP <= 1):
		return fmt.Errorf("--top-p %v: expected above 0, at most 1", s.TopP)
	case f.logprobs < 0:
		return fmt.Errorf("--logprobs %d: expected 0 or more", f.logprobs)
	}
	return nil
}

// checkCounts tests numbers of which 0 is the default, and no value to give.
func (f *runFlags) checkCounts(set *pflag.FlagSet) error {
	for _, name := range []string{"max-tokens", "max-num-batched-tokens", "max-model-len"} {
		if n, _ := set.GetInt(name); set.Changed(name) && n < 1 {
			return fmt.Errorf("--%s %d: expected 1 or more", name, n)
		}
	}
	return nil
}

// checkLike refuses what a session decides.
func (f *runFlags) checkLike(set *pflag.FlagSet) error {
	if f.session() == "" {
		return nil
	}
	for _, name := range []string{"max-tokens", "max-num-batched-tokens", "temperature", "top-k", "top-p", "seed", "stop", "logprobs"} {
		if set.Changed(name) {
			return fmt.Errorf("--%s cannot be combined with --like or --diff: the session's steps and tokens decide", name)
		}
	}
	return nil
}

// session is the one whose tokens and steps are run again, "" for none.
func (f *runFlags) session() string { return cmp.Or(f.diff, f.like) }

func openModel(dir string, stderr io.Writer) (*model.Checkpoint, error) {
	if dir != "" {
		return model.Open(dir)
	}
	fmt.Fprintln(stderr, "ilref: no --model given: running the bundled gopher-1m, a Llama of one million parameters for Go source")
	return model.OpenFS(gopher1m.Name, gopher1m.FS())
}

// settle decides what --rounding and --dynamic-rope leave open: they are those of
// the engine that recorded the session, vLLM where there is none or it is not
// known.
func (f *runFlags) settle() {
	if f.rounding == auto {
		f.rounding = string(nn.RoundingOf("", "", topology.Era2025))
		if f.recorded != nil {
			f.rounding = string(evidence.RoundingOf(f.recorded))
		}
	}
	if f.dynamicRope == auto {
		f.dynamicRope = string(model.DynamicRopeOf(nn.Rounding(f.rounding)))
	}
}

// options are those of the model.
func (f *runFlags) options() model.Options {
	return model.Options{MaxModelLen: f.maxModelLen, DynamicRope: model.DynamicRope(f.dynamicRope), Era: nn.Rounding(f.rounding).Era()}
}

func newEngine(ckpt *model.Checkpoint, f *runFlags, stderr io.Writer) (*ref.Engine, tensor.DType, error) {
	dtype := ckpt.Config.DType
	if f.dtype != "auto" {
		d, ok := tensor.ParseDType(f.dtype)
		if !ok {
			return nil, 0, fmt.Errorf("--dtype %q: expected auto, float64, float32, bfloat16 or float16", f.dtype)
		}
		dtype = d
	} else if dtype == tensor.Invalid {
		return nil, 0, fmt.Errorf("%s: no dtype or torch_dtype: give --dtype", ckpt.Config.File)
	}
	m, err := model.Build(ckpt, f.options())
	if err != nil {
		return nil, 0, err
	}
	warn(stderr, ckpt.Warnings...)
	if unused := ckpt.Unused(); len(unused) > 0 {
		warn(stderr, fmt.Sprintf("%s: %d tensors are not used by the model: %s", ckpt.Name, len(unused), plural.First(unused, 5)))
	}
	engine, err := ref.NewEngine(m, ref.Config{DType: dtype, Rounding: nn.Rounding(f.rounding), Threads: f.threads, MaxModelLen: f.maxModelLen})
	return engine, dtype, err
}

// warnUnlogged tells of steps of a session that is run again, nil for none, which the
// config does not log: they are compared with nothing.
func warnUnlogged(cfg *il.Config, like *il.Session, stderr io.Writer) {
	if like == nil {
		return
	}
	n := 0
	for _, st := range like.Steps {
		if !cfg.SelectsStep(st.Number) {
			n++
		}
	}
	if n > 0 {
		warn(stderr, fmt.Sprintf("the il config does not log %d of the %d steps of %s: log_step_ids [] logs all, and so does --output-dir without a config", n, len(like.Steps), like.Dir))
	}
}

// logger opens the session to write, nil where nothing is to be logged.
func (f *runFlags) logger(m *model.CausalLM, like *il.Session, made *provenance.Record, stderr io.Writer) (*il.Logger, error) {
	cfg, err := f.ilConfig()
	if err != nil {
		return nil, err
	}
	opts := il.LoggerOptions{SessionID: f.sessionID, DeviceLabel: f.deviceLabel, Provenance: made}
	switch {
	case cfg != nil:
		if err := cfg.Check(m.ModuleNames()); err != nil {
			return nil, err
		}
		warn(stderr, cfg.Warnings...)
		warnUnlogged(cfg, like, stderr)
	case like != nil:
		cfg = il.DefaultConfig()
		cfg.LogStepIDs = nil
		cfg.LogPostFwdInputs = like.RecordsPostFwdInputs()
		opts.Only = like.Records
	case f.outputDir != "" || f.sessionID != "":
		cfg = il.DefaultConfig()
	default:
		warn(stderr, "no il config given: nothing is logged (see --il-config-path)")
		return nil, nil
	}
	if f.outputDir != "" {
		cfg.OutputDir = f.outputDir
	}
	if opts.DeviceLabel != "" && !cfg.SelectsDevice(opts.DeviceLabel) {
		return nil, fmt.Errorf("--device-label %s is not among the config's device_names (%s): nothing would be logged",
			opts.DeviceLabel, strings.Join(cfg.DeviceNames, ", "))
	}
	return il.NewLogger(cfg, opts)
}

func (f *runFlags) ilConfig() (*il.Config, error) {
	quirks, err := il.ParseQuirks(f.quirks)
	if err != nil {
		return nil, fmt.Errorf("--il-quirks: %w", err)
	}
	switch {
	case f.configPath != "":
		return quirks.LoadConfig(f.configPath)
	case f.config != "":
		return quirks.ParseConfig("--il-config", []byte(f.config))
	}
	return nil, nil
}

func warn(w io.Writer, lines ...string) {
	for _, l := range lines {
		fmt.Fprintln(w, "ilref: warning:", terminal.Printable(l))
	}
}
