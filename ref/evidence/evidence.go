// Package evidence makes the sessions that a comparison judges a target by:
// the replay of its recorded calls, and runs of its tokens in other arithmetic.
package evidence

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/internal/mmap"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Replay writes, below dir, what the checkpoint's modules return for the inputs
// that session recorded for them, in its dtype (the checkpoint's where it holds
// no activations). ranks tells of tensors put together of ranks, nil for none. own reports the calls of a part, nil stands for all. Calls
// that cannot be computed are returned with the reason; it is an error where
// none of all can. rounding is the profile of a half type; "" is the session's own, see
// RoundingOf.
func Replay(ctx context.Context, session *il.Session, ranks ref.Ranks, ckpt *model.Checkpoint, own func(module string, call int) bool, rounding nn.Rounding, dir string) (*il.Session, []ref.SkippedCall, error) {
	dtype := ref.ActivationDType(session)
	if dtype == tensor.Invalid {
		dtype = ckpt.Config.DType
	}
	if rounding == "" {
		rounding = RoundingOf(session)
	}
	engine, err := newEngine(session, ckpt, dtype, rounding)
	if err != nil {
		return nil, nil, err
	}
	if err := ref.CheckSession(session, engine.Model); err != nil {
		return nil, nil, err
	}
	logger, err := newLogger(session, dir)
	if err != nil {
		return nil, nil, err
	}
	var skipped []ref.SkippedCall
	err = mmap.Guard(ckpt.Name, func() (err error) {
		_, skipped, err = engine.ReplayPart(ctx, session, ref.Part{Own: own, Ranks: ranks}, logger, noProgress)
		return err
	})
	if err == nil && own != nil && logger.Logged() == 0 {
		return il.NewSession(logger.Dir(), il.VariantA, nil), skipped, logger.Close()
	}
	if err == nil && logger.Logged() == 0 {
		if err := logger.Close(); err != nil {
			return nil, nil, err
		}
		why := ""
		if len(skipped) > 0 {
			why = fmt.Sprintf(": %s: %s", skipped[0].Module, skipped[0].Reason)
		}
		return nil, nil, fmt.Errorf("%s: nothing could be replayed%s", session.Dir, why)
	}
	out, err := finish(logger, session, err)
	return out, skipped, err
}

// Run writes, below dir, a run of the session's tokens and steps in a dtype.
func Run(ctx context.Context, session *il.Session, ckpt *model.Checkpoint, dtype tensor.DType, dir string) (*il.Session, error) {
	engine, err := newEngine(session, ckpt, dtype, RoundingOf(session))
	if err != nil {
		return nil, err
	}
	plan, err := requests.Read(session, nil)
	if err != nil {
		return nil, err
	}
	if err := engine.CheckPlan(plan); err != nil {
		return nil, err
	}
	logger, err := newLogger(session, dir)
	if err != nil {
		return nil, err
	}
	engine.Hooks = logger
	err = mmap.Guard(ckpt.Name, func() error {
		_, err := engine.Rerun(ctx, plan, noProgress)
		return err
	})
	return finish(logger, session, err)
}

// RoundingOf is the profile that a session was computed with: what its provenance
// says, else what its modules' names tell of the engine.
func RoundingOf(s *il.Session) nn.Rounding {
	return cmp.Or(ref.ArithmeticOf(s.Provenance(), ref.ActivationDType(s)).Rounding, nn.RoundingOf(s.EngineByNames()))
}

// Routers are what the routers of a checkpoint choose of a session's scores, by the names of
// its modules. The checkpoint must stay open.
type Routers struct {
	Choice  ref.Choice              // nil where it has no routers
	Exact   ref.Choice              // without the rounding of the session's type; nil for the same
	Without map[string]ref.Choice   // with a part of the choice left out, by what that is
	Weighed map[string]ref.Weighing // what experts return that are weighed otherwise, by what that is
}

// RoutersOf are those of a session that the checkpoint has made.
func RoutersOf(session *il.Session, ckpt *model.Checkpoint) (*Routers, error) {
	dtype := ref.ActivationDType(session)
	if dtype == tensor.Invalid {
		dtype = ckpt.Config.DType
	}
	engine, err := newEngine(session, ckpt, dtype, RoundingOf(session))
	if err != nil {
		return nil, err
	}
	out := &Routers{Choice: engine.Choices(), Without: engine.ChoicesWithout(), Weighed: engine.OtherWeights()}
	if len(out.Without) > 0 {
		plain, err := ref.NewEngine(engine.Model, ref.Config{DType: tensor.Float32})
		if err != nil {
			return nil, err
		}
		out.Exact = plain.Choices()
	}
	return out, nil
}

func noProgress(_, _, _, _ int) {}

// newEngine computes with a profile, in the tree that the session has: of transformers against vLLM
// of 2026 that of 2026.
func newEngine(session *il.Session, ckpt *model.Checkpoint, dtype tensor.DType, rounding nn.Rounding) (*ref.Engine, error) {
	o := model.OptionsOf(rounding)
	if a := session.Architecture(); a != nil && a.Era() == topology.Era2026 && slices.Contains(a.Names, ckpt.Config.Architectures[0]) {
		o.Era = topology.Era2026
	}
	m, err := model.Build(ckpt, o)
	if err != nil {
		return nil, err
	}
	return ref.NewEngine(m, ref.Config{DType: dtype, Rounding: rounding, Threads: runtime.NumCPU()})
}

// newLogger logs what the session holds.
func newLogger(session *il.Session, dir string) (*il.Logger, error) {
	cfg := il.DefaultConfig()
	cfg.LogStepIDs = nil
	cfg.OutputDir = dir
	return il.NewLogger(cfg, il.LoggerOptions{Only: session.Records})
}

// finish closes the session, also of a run that failed, and opens it. Its rows are
// those of the session that it was made from.
func finish(logger *il.Logger, from *il.Session, err error) (*il.Session, error) {
	if err = logger.Finish(err); err != nil {
		return nil, err
	}
	s, err := il.Open(logger.Dir())
	if err == nil {
		s.InheritBatches(from)
	}
	return s, err
}
