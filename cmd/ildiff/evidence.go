package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/measure"
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/setup"
	"github.com/ilref/ilref/compare/shard"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/internal/terminal"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/ref/evidence"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// evidenceFlags name the sessions that judge the target better than the
// reference alone.
type evidenceFlags struct {
	replay               []string
	model, oracle, floor string
	ratioLimit           number
}

func (f *evidenceFlags) add(fs *pflag.FlagSet) {
	f.ratioLimit = number{low: 1, high: 1e6}
	fs.StringArrayVar(&f.replay, "replay", nil, "`SESSION` of what the right model returns for the target's own inputs (ilref replay TARGET): judge each module's own gap; repeatable for one that was made in parts")
	fs.StringVar(&f.model, "model", "", "checkpoint `DIR` to make that replay with")
	fs.StringVar(&f.oracle, "oracle", "", "`SESSION` of a float64 run of the target's tokens: with --floor, judge by what rounding costs")
	fs.StringVar(&f.floor, "floor", "", "`SESSION` of a run of them in the target's dtype (ilref run --like TARGET --with-floor makes both)")
	fs.Var(&f.ratioLimit, "ratio-limit", "times the floor that the target may be from the oracle (default 1.5)")
}

// check refuses flags that contradict each other, before anything is opened.
func (f *evidenceFlags) check() error {
	switch {
	case len(f.replay) > 0 && f.model != "":
		return errors.New("--replay names a replay and --model makes one: give one of them")
	case f.oracle != "" && f.floor == "":
		return errors.New("--oracle without --floor: the gap to exact values says nothing without what rounding costs; give both (ilref run --like TARGET --with-floor makes them)")
	case f.floor != "" && f.oracle == "":
		return errors.New("--floor without --oracle: what rounding costs is measured against exact values; give both (ilref run --like TARGET --with-floor makes them)")
	case f.ratioLimit.set && f.oracle == "":
		return errors.New("--ratio-limit without --oracle and --floor: there is no ratio to limit")
	}
	return nil
}

// open opens the sessions, and makes the replay where a model is given, of the
// target's calls in own (nil for all), under the names that a map gives them. The
// caller removes what it made, when the comparison is done: the experts that routers
// choose, which opts are given too, are looked up in the model.
func (f *evidenceFlags) open(ctx context.Context, reference, target *il.Session, opts *compare.Options, own func(module string, call int) bool, stderr io.Writer) (remove func(), err error) {
	remove = func() {}
	e, names := &opts.Evidence, opts.View.Map
	e.RatioLimit = f.ratioLimit.v
	if e.Replay, err = f.openReplay(target); err != nil {
		return remove, fmt.Errorf("--replay: %w", err)
	}
	if err := f.openFloor(target, e); err != nil {
		return remove, err
	}
	if f.model == "" {
		return remove, nil
	}
	ckpt, err := model.Open(f.model)
	if err != nil {
		return remove, fmt.Errorf("--model: %w", err)
	}
	remove = func() { ckpt.Close() }
	e.Vocabulary = ckpt.Config.VocabSize
	dir, err := os.MkdirTemp("", "ildiff-replay-")
	if err != nil {
		return remove, fmt.Errorf("--model: no room for the replay: %w", err)
	}
	remove = func() {
		ckpt.Close()
		os.RemoveAll(dir)
	}
	e.KVHeads = ckpt.Config.NumKeyValueHeads
	for _, s := range []*il.Session{reference, target} {
		s.TellModel(ckpt.Config.Architectures[0])
	}
	named, err := names.Rename(reference, target)
	if err != nil {
		return remove, err
	}
	if names != nil { // what has no counterpart is no module of the checkpoint's
		named = normalize.Among(named, reference)
	}
	computedAs := topology.ByName(ckpt.Config.Architectures[0], evidence.RoundingOf(target).Era())
	canonical, notes := normalize.Canonical(named, reference, e.KVHeads, computedAs)
	for _, n := range ref.ArithmeticOf(target.Provenance(), ref.ActivationDType(canonical)).Notes {
		fmt.Fprintf(stderr, "ildiff: warning: %s: %s\n", terminal.Printable(target.Dir), terminal.Printable(n))
	}
	if err := tellOtherWeights(target, ckpt, ref.ActivationDType(canonical), stderr); err != nil {
		return remove, fmt.Errorf("--model: %w", err)
	}
	routers, err := evidence.RoutersOf(target, ckpt)
	if err != nil {
		return remove, fmt.Errorf("--model: %w", err)
	}
	opts.Experts = measure.NewExperts(routers.Choice, routers.Exact, routers.Without, routers.Weighed)
	var skipped []ref.SkippedCall
	if e.Replay, skipped, err = evidence.Replay(ctx, canonical, &notes, ckpt, own, evidence.RoundingOf(target), dir); err != nil {
		return remove, fmt.Errorf("--model: %w", err)
	}
	if l := target.Lacks(); l != nil && l.Inputs && len(skipped) > 0 {
		fmt.Fprintf(stderr, "ildiff: %s not replayed: %s holds no arguments of modules\n", plural.Count(len(skipped), "call"), target.Dir)
		return remove, nil
	}
	for _, u := range skipped {
		fmt.Fprintf(stderr, "ildiff: not replayed: step_%d %s (call %d): %s\n", u.Step, u.Module, u.Call, terminal.Printable(u.Reason))
	}
	return remove, nil
}

// tellOtherWeights warns where the target says that it ran other weights than the
// checkpoint's, in the type that it computed in.
func tellOtherWeights(target *il.Session, ckpt *model.Checkpoint, dtype tensor.DType, stderr io.Writer) error {
	p := target.Provenance()
	if p == nil || len(p.Weights) == 0 || dtype == tensor.Invalid {
		return nil
	}
	weights, err := ref.Weights(ckpt, dtype)
	if err != nil {
		return err
	}
	if other := setup.OtherWeights(weights, p.Weights); other != "" {
		fmt.Fprintf(stderr, "ildiff: warning: %s and the checkpoint of --model: %s\n", terminal.Printable(target.Dir), terminal.Printable(other))
	}
	return nil
}

// openFloor opens the two runs of the target's tokens that tell what rounding
// costs, and refuses others.
func (f *evidenceFlags) openFloor(target *il.Session, e *compare.Evidence) error {
	if f.oracle == "" {
		return nil
	}
	command := fmt.Sprintf("ilref run --like %s --with-floor", target.Dir)
	open := func(flag, dir string) (*il.Session, *provenance.Derived, error) {
		s, err := il.Open(dir)
		if err != nil {
			return nil, nil, fmt.Errorf("--%s: %w", flag, err)
		}
		made, err := s.CheckDerived(provenance.Rerun, target, command)
		if err != nil {
			return nil, nil, fmt.Errorf("--%s: %w", flag, err)
		}
		return s, made, nil
	}
	oracle, exact, err := open("oracle", f.oracle)
	if err != nil {
		return err
	}
	floor, rounded, err := open("floor", f.floor)
	if err != nil {
		return err
	}
	switch {
	case exact.DType != tensor.Float64.String():
		return fmt.Errorf("--oracle: %s was computed in %s, expected float64, which rounds least; make it with %s", oracle.Dir, exact.DType, command)
	case rounded.DType == exact.DType:
		return fmt.Errorf("--floor: %s was computed in %s, as the oracle was, and tells nothing of rounding: expected the target's type; make it with %s", floor.Dir, rounded.DType, command)
	case exact.Checkpoint != rounded.Checkpoint:
		return fmt.Errorf("--floor: %s and the oracle were computed from different checkpoints; make both with %s", floor.Dir, command)
	}
	if d := ref.ActivationDType(target); d != tensor.Invalid && d.String() != rounded.DType {
		return fmt.Errorf("--floor: %s was computed in %s, expected %s, the target's type; make it with %s", floor.Dir, rounded.DType, d, command)
	}
	e.Oracle, e.Floor = oracle, floor
	return nil
}

// openReplay opens the replay, or puts its parts together. A part in which
// there was nothing to do is an empty directory.
func (f *evidenceFlags) openReplay(target *il.Session) (*il.Session, error) {
	var parts []*il.Session
	for _, dir := range f.replay {
		if entries, err := os.ReadDir(dir); err == nil && len(entries) == 0 {
			continue
		}
		s, err := il.Open(dir)
		if err == nil {
			_, err = s.CheckDerived(provenance.Replay, target, "ilref replay "+target.Dir)
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, s)
	}
	switch {
	case len(f.replay) == 0:
		return nil, nil
	case len(parts) == 1:
		return parts[0], nil
	}
	return shard.Join(f.replay[0], target, parts)
}
