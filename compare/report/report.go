// Package report is the result of a comparison: a tree of verdicts with the
// figures under them, and those figures in words. Every stage fills a part of
// it, and every format of package render is written from it alone.
package report

import (
	"fmt"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// Schema names the JSON form of a report. Names in it stay; new ones may come.
const Schema = "ildiff.report/v1"

// Verdict is a judgement of a tensor, a module call or the whole comparison.
type Verdict string

// The verdicts. Inherited: beyond noise, but its inputs (or, for a module that
// contains others, its children) explain it after a divergence was found.
// Incomparable is of the whole only, NotCompared of a module call only.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Inherited    Verdict = "inherited"
	Incomparable Verdict = "incomparable"
	NotCompared  Verdict = "not_compared"
)

// Rule names the way a report was judged.
type Rule string

// The rules: what rounding explains, between the sessions, of a module's own
// gap by replay, or of the gap to an oracle as an emulation measures it; or
// bounds that the caller gave.
const (
	RuleNoise  Rule = "noise"
	RuleReplay Rule = "replay"
	RuleFloor  Rule = "floor"
	RuleBounds Rule = "bounds"
	RulePolicy Rule = "policy" // bounds by a policy's rules, what rounding explains for the rest
)

// The directions of a Key.
const (
	Inputs        = string(il.Inputs)
	Outputs       = string(il.Outputs)
	PostFwdInputs = string(il.PostFwdInputs)
)

// Key names a tensor of a session, without its device.
type Key struct {
	Step      int    `json:"step"`      // of the directory
	Module    string `json:"module"`    // dotted, without call suffix
	Call      int    `json:"call"`      // 0 for the first call in the step
	Direction string `json:"direction"` // inputs, outputs or post_fwd_inputs
	Slot      string `json:"slot"`      // "0", "1_2", "key", "" for a single output
}

// String is the tensor's file in the session, without device and ending.
func (k Key) String() string {
	s := fmt.Sprintf("step_%d/%s/%s", k.Step, il.CallName(k.Module, k.Call), k.Direction)
	if k.Slot != "" {
		s += "_" + k.Slot
	}
	return s
}

// TensorDiff is the result of one pair of tensors.
type TensorDiff struct {
	Key
	DTypes     [2]tensor.DType // of the reference, of the target
	Shape      []int
	Rank       string // the device whose gap this is, where both sides hold several ranks
	Gap        *metric.Gap
	Logits     *metric.Logits       // nil but for logits
	Routing    *Routing             // of a router's scores; nil for all else
	Whole      *metric.Gap          // with the rows of tokens that went to other experts, which Gap is without; nil where none is left out
	LeftOut    int                  // so many rows
	Token      *Token               // the worst row, where the session tells what it is
	ReplayGap  *metric.Gap          // between the replay and the target; nil without
	Noise      *metric.Noise        // how many times what rounding explains the replay says it is off; nil without
	NoiseRatio *rounding.NoiseRatio // nil without
	Verdict
}

// VerdictOrNone is that of the tensor, none for no tensor.
func (t *TensorDiff) VerdictOrNone() Verdict {
	if t == nil {
		return ""
	}
	return t.Verdict
}

// CallDiff is the result of one call of a module.
type CallDiff struct {
	Step              int
	Module            string
	Call              int
	Forward           int // the step of the forward it belongs to: that before for logits
	Layer             int // the layer it works for; -1 outside layers
	Tensors, Compared int // how many tensors there are on either side, how many were compared

	// The worst of its outputs, NaN without a replay or a floor: the gap to the
	// replay, and the ratios of tensor and worst token.
	Local, Ratio, RatioToken float64
	Noise                    float64 // times what rounding explains (TimesNoise)

	Inputs  *TensorDiff // the worst of its inputs; nil where none was compared
	Outputs *TensorDiff // the worst of its outputs and of its inputs after the call
	Verdict
	Why  string // of a failure, or why nothing was compared
	Hint string // of a failure: the likely cause, a guess; "" for none
}

// Name is the module's name with its call suffix, as its directory is called.
func (m *CallDiff) Name() string { return il.CallName(m.Module, m.Call) }

// Divergence is where two sessions first part.
type Divergence struct {
	Key
	Layer int
	Why   string
	Hint  string // the likely cause, a guess with its evidence; "" for none
}

// Problem is a tensor that was not compared.
type Problem struct {
	Key
	Why         string
	OtherTokens bool // the forward ran other tokens
}

// Coverage counts the tensors that either session holds (the union), by what
// became of them.
type Coverage struct {
	Compared           int
	MissingInReference []Key
	MissingInTarget    []Key
	Skipped            []Problem // held by both, but not comparable
	Unreadable         []Problem
	OtherWorkload      int       // how many of Skipped belong to forwards of other tokens
	UnmatchedByNature  int       // rows outside the union: padding, logits of unfinished chunks
	NoPartner          int       // tensors outside the union: the other side's modules have no place for them
	Excluded           []Problem // tensors outside the union: the policy skips them, with its reason
	Keywords           []Problem // tensors outside the union: arguments by keyword that one side alone recorded
}

// Union is the number of tensors that either session holds.
func (c *Coverage) Union() int {
	return c.Compared + len(c.MissingInReference) + len(c.MissingInTarget) + len(c.Skipped) + len(c.Unreadable)
}

// Percent is the share of the union that was compared; 0 of 0 is 0.
func (c *Coverage) Percent() float64 {
	if c.Compared == 0 {
		return 0
	}
	return 100 * float64(c.Compared) / float64(c.Union())
}

// Workload is a forward pass that the sessions did not run on the same tokens,
// so that nothing in it was judged.
type Workload struct {
	Forward int // its step; its logits lie in the next
	Why     string
}

// Side describes a session.
type Side struct {
	Dir     string
	Variant string
	Steps   []int
	DTypes  []string // of its compared floating-point tensors, the most frequent first
}

// Report is the result of a comparison. Modules and Tensors are in execution
// order: logits_processor of step n+1 is the last of forward n.
type Report struct {
	Reference, Target Side
	Setup             []SetupDifference // in what the sessions say that they were made otherwise
	Rule              Rule
	Verdict           Verdict
	FirstDivergence   *Divergence
	Coverage          Coverage
	MinCoverage       float64 // percent that was asked for
	Modules           []*CallDiff
	Tensors           []*TensorDiff // every compared one
	Workloads         []Workload
	Fallback          []string // calls that the rule's evidence lacks, judged between the two sessions
	Warnings          []string
	Unfinished        []string // why a session is not that of a run that has ended: such a comparison passes nothing

	Logprobs *Logprobs // of the tokens that were run; nil where no side recorded logits and no policy bounds them

	Diverged bool     // something failed, or the tokens part
	Unhinted []string // failing calls that their parts did not suspect
}

// ExitCode is 0 for a pass, 1 for a gap, 3 where nothing or too little was
// comparable.
func (r *Report) ExitCode() int {
	switch r.Verdict {
	case Pass:
		return 0
	case Fail:
		return 1
	}
	return 3
}
