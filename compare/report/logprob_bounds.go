package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// LogprobBounds are limits of the figures of Logprobs over all tokens; nil ones are
// not asked for.
type LogprobBounds struct {
	MaxAbsLogRatio  *float64 `json:"max_abs_log_ratio,omitzero"`
	MeanAbsLogRatio *float64 `json:"mean_abs_log_ratio,omitzero"`
	MeanExpAbs      *float64 `json:"mean_exp_abs_log_ratio,omitzero"`
	MaxKL           *float64 `json:"max_kl,omitzero"`  // of a row, either way
	MeanKL          *float64 `json:"mean_kl,omitzero"` // either way
	MaxProbDiff     *float64 `json:"max_prob_diff,omitzero"`
	MinESS          *float64 `json:"min_ess,omitzero"`
	MaxClipped      *float64 `json:"max_clipped,omitzero"`
	Clip            *float64 `json:"clip,omitzero"` // ε of the clip range, no bound
}

// LogprobBoundNames are the names of the limits, as a policy has them.
var LogprobBoundNames = []string{
	"max_abs_log_ratio", "mean_abs_log_ratio", "mean_exp_abs_log_ratio", "max_kl", "mean_kl", "max_prob_diff", "min_ess", "max_clipped", "clip",
}

// Field is a limit by its name in a policy.
func (b *LogprobBounds) Field(name string) **float64 {
	return map[string]**float64{
		"max_abs_log_ratio": &b.MaxAbsLogRatio, "mean_abs_log_ratio": &b.MeanAbsLogRatio, "mean_exp_abs_log_ratio": &b.MeanExpAbs,
		"max_kl": &b.MaxKL, "mean_kl": &b.MeanKL, "max_prob_diff": &b.MaxProbDiff,
		"min_ess": &b.MinESS, "max_clipped": &b.MaxClipped, "clip": &b.Clip,
	}[name]
}

// Set reports whether any figure is bounded.
func (b *LogprobBounds) Set() bool {
	return b != nil && cmp.Or(b.MaxAbsLogRatio, b.MeanAbsLogRatio, b.MeanExpAbs, b.MaxKL, b.MeanKL, b.MaxProbDiff, b.MinESS, b.MaxClipped) != nil
}

// Check lists the bounds that the figures break.
func (l *Logprobs) Check() []string {
	b := l.Bounds
	if !b.Set() || len(l.Tokens) == 0 {
		return nil
	}
	var out []string
	hold := func(limit *float64, v float64, what string) {
		if limit != nil && !(v <= *limit) {
			out = append(out, fmt.Sprintf("%s %s is above %g", what, Nats(v), *limit))
		}
	}
	f := &l.LogprobFigures
	hold(b.MaxAbsLogRatio, f.MaxAbs, "max |log ratio|")
	hold(b.MeanAbsLogRatio, f.MeanAbs, "mean |log ratio|")
	hold(b.MeanExpAbs, f.MeanExpAbs, "mean exp|log ratio|")
	hold(b.MaxKL, max(f.MaxKL[0], f.MaxKL[1]), "max KL")
	hold(b.MeanKL, max(f.KL[0], f.KL[1]), "mean KL")
	hold(b.MaxProbDiff, f.MaxProbDiff, "max |difference of p|")
	if b.MinESS != nil && !(f.ESS >= *b.MinESS) {
		out = append(out, fmt.Sprintf("the effective sample size %.6g is below %g", f.ESS, *b.MinESS))
	}
	if b.MaxClipped != nil && !(f.Clipped <= *b.MaxClipped) {
		out = append(out, fmt.Sprintf("%s of the ratios lie outside [%g, %g], and %s may", Percent(f.Clipped), 1-l.Clip, 1+l.Clip, Percent(*b.MaxClipped)))
	}
	if l.Undefined > 0 {
		out = append(out, fmt.Sprintf("no bound holds where logits give no distribution (NaN, +Inf): in %d of them", l.Undefined))
	}
	return out
}

// WhyBroken is the sentence of bounds that are broken: the figures, the worst token
// and where its row parts. "" where none is.
func (l *Logprobs) WhyBroken() string {
	if l == nil || len(l.Broken) == 0 {
		return ""
	}
	s := strings.Join(l.Broken, "; ")
	if w := l.Worst; w != nil {
		s += "; worst at " + w.String()
		if w.Parts != nil {
			s += ": " + w.Parts.String()
		}
	}
	return s
}

// Nats writes a figure of Logprobs in three digits.
func Nats(v float64) string { return Amount(v) }

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
