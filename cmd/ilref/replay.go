package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/partial"
	"github.com/ilref/ilref/compare/shard"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/foreign"
	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/internal/mmap"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/internal/progress"
	"github.com/ilref/ilref/internal/terminal"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

func newReplayCommand() *cobra.Command {
	var f runFlags
	var part string
	cmd := &cobra.Command{
		Use:   "replay SESSION [flags]",
		Short: "Compute each recorded module call again from its own recorded inputs",
		Long: `Give every module the inputs that SESSION recorded for it and write what it
returns as a session. Its outputs differ from the recorded ones by what each
module did, however far a fault has spread: ildiff REFERENCE SESSION --replay REPLAY
shows these local gaps. Attention takes keys and values from the earlier recorded
calls; self_attn, which records no inputs, takes them from its neighbours. What
cannot be replayed is listed on standard error with the reason.

The parts of tensor-parallel ranks are put together first, the rotary embeddings
of pipeline stages are one, and transformers' modules have vLLM's names: the
replay is that of one process on one device.

--shard I/N replays one of n parts, which machines can make at the same time:
part i is what ildiff --shard I/N asks for, and ildiff takes all parts together
as the whole (see docs/shards.md).

The arithmetic is that of the session's dtype, and of the engine that the session
says it is of (session.json) or whose names its modules have, unless --dtype and
--rounding say otherwise.`,
		Example: "  ilref replay gpu-session --model ./Llama-3.2-1B --output-dir replays\n  ilref replay gpu-session --model ./Llama-3.2-1B --shard 2/7 --output-dir replays --session-id part-2",
		Args:    exactArgs("a SESSION to replay"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.like = args[0]
			return replaySession(cmd.Context(), &f, cmd.Flags(), part, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.model, "model", "", "checkpoint `DIR` in Hugging Face's form (default: the bundled gopher-1m)")
	fl.StringVar(&part, "shard", "", "replay one of n parts of the module calls, as `I/N`: 2/7")
	fl.StringVar(&f.configPath, "il-config-path", "", "il config `FILE`: replay what it selects")
	fl.StringVar(&f.config, "il-config", "", "il config as `JSON`")
	fl.StringArrayVar(&f.promptIDs, "prompt-ids", nil, "token `IDS` of a request that began before the session's first step; repeatable")
	fl.StringVar(&f.dtype, "dtype", "auto", "`TYPE` to compute in: auto (the session's), float64, float32, bfloat16 or float16")
	arithmeticFlags(fl, &f)
	fl.IntVar(&f.maxModelLen, "max-model-len", 0, "`N` positions of a request at most (default: the model's)")
	fl.StringVar(&f.deviceLabel, "device-label", "", "device `LABEL` of the logged tensors (default: the config's first device_names, or cpu)")
	fl.StringVar(&f.outputDir, "output-dir", "", "`DIR` for the session (default: the config's output_dir)")
	fl.StringVar(&f.sessionID, "session-id", "", "`NAME` of the session's directory (default: a random UUID)")
	threadsFlag(fl, &f.threads)
	fl.SetNormalizeFunc(aliases)
	return cmd
}

func replaySession(ctx context.Context, f *runFlags, set *pflag.FlagSet, part string, stdout, stderr io.Writer) error {
	if err := f.checkWords(); err != nil {
		return err
	}
	if f.config != "" && f.configPath != "" {
		return errors.New("--il-config and --il-config-path are both given: give one of them")
	}
	session, err := foreign.Open(f.like)
	if err != nil {
		return err
	}
	warn(stderr, session.Warnings...)
	own, err := partOf(session, part)
	if err != nil {
		return err
	}
	ckpt, err := openModel(f.model, stderr)
	if err != nil {
		return err
	}
	defer ckpt.Close()
	recorded := session
	recorded.TellModel(ckpt.Config.Architectures[0])
	session, notes := normalize.Canonical(recorded, nil, ckpt.Config.NumKeyValueHeads, topology.ByName(ckpt.Config.Architectures[0], nn.Rounding(f.rounding).Era()))
	warn(stderr, notes.Warnings...)
	f.recorded = recorded
	f.takeArithmetic(ckpt.Config.DType, stderr)
	if d := ref.ActivationDType(session); f.dtype == "auto" && d != tensor.Invalid {
		f.dtype = d.String()
	}
	f.settle()
	engine, _, err := newEngine(ckpt, f, stderr)
	if err != nil {
		return err
	}
	if err := ref.CheckSession(session, engine.Model); err != nil {
		return err
	}
	if w := requests.Contradicted(session); w != "" {
		warn(stderr, w)
	}
	histories, err := f.promptTokens(nil, nil)
	if err != nil {
		return err
	}
	how, err := f.provenance(provenance.Replay, recorded, ckpt, engine)
	if err != nil {
		return err
	}
	logger, err := f.logger(engine.Model, session, how, stderr)
	if err != nil {
		return err
	}
	for _, st := range session.Steps { // whose the rows are stays as it was
		if b := session.Batch(st.Number); b != nil {
			logger.SkipTo(st.Number)
			logger.Batch(*b)
		}
	}
	fmt.Fprintln(stdout, "session", logger.Dir())
	made, skipped, err := replayInto(ctx, logger, engine, ckpt, session, ref.Part{Histories: histories, Own: own, Ranks: &notes}, stderr)
	if err != nil {
		return err
	}
	warn(stderr, logger.Warnings()...)
	warn(stderr, notes.Findings(session)...)
	if l := recorded.Lacks(); l != nil && l.Inputs && len(skipped) > 0 {
		fmt.Fprintf(stderr, "ilref: %s not replayed: %s holds no arguments of modules\n", plural.Count(len(skipped), "call"), recorded.Dir)
	} else {
		for _, u := range skipped {
			fmt.Fprintf(stderr, "ilref: not replayed: step_%d %s: %s\n", u.Step, il.CallName(u.Module, u.Call), terminal.Printable(u.Reason))
		}
	}
	_, err = fmt.Fprintf(stdout, "replayed %d calls, %d not\n", made, len(skipped))
	if err == nil && own == nil && made == 0 {
		return fmt.Errorf("%s: nothing could be replayed", session.Dir)
	}
	return err
}

// replayInto computes and logs the calls, and returns how many, and those that
// could not be.
func replayInto(ctx context.Context, logger *il.Logger, engine *ref.Engine, ckpt *model.Checkpoint, session *il.Session, part ref.Part, stderr io.Writer) (int, []ref.SkippedCall, error) {
	line := progress.New(stderr)
	var skipped []ref.SkippedCall
	made := 0
	err := mmap.Guard(ckpt.Name, func() (err error) {
		made, skipped, err = engine.ReplayPart(ctx, session, part, logger, func(step, calls, done, total int) {
			line.Update(done, total, fmt.Sprintf("step %d, %d calls", step, calls))
		})
		return err
	})
	line.Done()
	err = logger.Finish(err)
	if part.Own == nil {
		made = logger.Logged()
	}
	return made, skipped, err
}

// partOf is which calls of a session a part has, nil for all.
func partOf(session *il.Session, part string) (func(module string, call int) bool, error) {
	if part == "" {
		return nil, nil
	}
	p, err := shard.Parse(part)
	if err != nil {
		return nil, fmt.Errorf("--shard %w", err)
	}
	return partial.OwnCalls(p, session), nil
}
