// Package partial is what one of several machines has measured, as a file, and
// how all of them become what the judge is given.
package partial

import (
	"github.com/ilref/ilref/compare/diagnose"
	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/shard"
	"github.com/ilref/ilref/il"
)

// Schema names the JSON form of a part. A part is read by the program that
// wrote it and no other: names in it may change with any version.
const Schema = "ildiff.part/v1"

// Report is what one of several machines has measured: the figures of its
// tensors, and what all parts must agree on. Verdicts follow from the figures
// of all parts alone (Merge).
type Report struct {
	Schema  string     `json:"schema"`
	Version string     `json:"version"` // of the program
	Shard   shard.Part `json:"shard"`

	// What the caller was asked for, by the names of its flags: parts that were
	// asked for other things are not put together.
	Options map[string]string `json:"options"`

	Reference Side              `json:"reference"`
	Target    Side              `json:"target"`
	Evidence  []report.Measured `json:"evidence"`

	Rule         report.Rule           `json:"rule"`              // by which the sessions given are judged
	Policy       bool                  `json:"policy"`            // a policy comes first
	RatioLimit   float64               `json:"ratio_limit"`       // 0 for the default
	MinCoverage  *float64              `json:"min_coverage"`      // null for all
	Bounds       report.Bounds         `json:"bounds"`            // of all tensors
	PolicyBounds []report.Bounds       `json:"policy_bounds"`     // those of the tensors' rules
	Clip         float64               `json:"clip"`              // ε of the clip range of logprobs
	Logprobs     *report.LogprobBounds `json:"logprobs,omitzero"` // the policy's bounds of them
	Layers       int                   `json:"layers"`            // of the model; 0 is unknown
	Notes        notes                 `json:"notes"`

	Setup    []report.SetupDifference `json:"setup,omitzero"` // in what the sessions were made otherwise
	Forwards []Forward                `json:"forwards"`       // all, whoever has measured them
	Calls    []Call                   `json:"calls"`          // those of the part

	// What the caller has to say of the recordings: the first part does.
	Warnings []string  `json:"warnings"`
	Findings []Finding `json:"findings"`

	File string `json:"-"` // it was read from
}

// Side is one of the sessions.
type Side struct {
	Dir         string   `json:"dir"`
	Variant     string   `json:"variant"`
	Steps       []int    `json:"steps"`
	Warnings    []string `json:"warnings"`
	Unfinished  string   `json:"unfinished,omitzero"` // why it is not that of a run that has ended
	Fingerprint string   `json:"fingerprint"`         // shard.Fingerprint
}

// Finding is a line about the recordings.
type Finding struct {
	Severity string `json:"severity"`
	Message  string `json:"message"`
}

type notes struct {
	Warnings  []string `json:"warnings"`
	Unmatched int      `json:"unmatched"`
	NoPartner int      `json:"no_partner"`
}

// Forward is a forward, whoever has measured it.
type Forward struct {
	Step  int                `json:"step"`
	Work  pairing.BatchMatch `json:"work"`
	Why   string             `json:"why"`
	Calls int                `json:"calls"`
}

// Call is a call and its place in execution order: the At-th of a forward.
type Call struct {
	Forward int    `json:"forward"`
	At      int    `json:"at"`
	Step    int    `json:"step"`
	Module  string `json:"module"`
	Call    int    `json:"call"`
	Slots   []Slot `json:"slots"`

	Tokens diagnose.TokenClue `json:"tokens,omitzero"` // of a forward that ran others
}

// Slot is a pair of tensors, and what the parts' judge must know of it.
type Slot struct {
	Direction string  `json:"direction"`
	Slot      string  `json:"slot"`
	Fate      string  `json:"fate"`
	Why       string  `json:"why,omitzero"`
	Bounds    *int    `json:"bounds,omitzero"` // of policy_bounds
	Tensor    *Tensor `json:"tensor,omitzero"` // of a compared one

	Bits     [2]string            `json:"bits,omitzero"` // hashes of the two tensors
	Finding  string               `json:"finding,omitzero"`
	Rank     *string              `json:"rank,omitzero"` // that holds the largest difference
	RankGaps map[string]float64   `json:"rank_gaps,omitzero"`
	Rows     *pairing.RowOrigin   `json:"rows,omitzero"`     // that logits are computed of
	Clues    []Clue               `json:"clues,omitzero"`    // should it be at fault
	Logprobs *report.LogitsTokens `json:"logprobs,omitzero"` // of a tensor of logits
}

// Clue is a likely cause that was found in advance, and what it holds for.
type Clue struct {
	In    float64 `json:"in"`    // what the call's inputs hand on
	Clean bool    `json:"clean"` // the module has passed before
	Rule  int     `json:"rule"`
	Hint  string  `json:"hint"`
}

// Tensor is the figures of a compared pair.
type Tensor struct {
	DTypes [2]string      `json:"dtypes"`
	Shape  []int          `json:"shape,omitzero"`
	Rank   string         `json:"rank,omitzero"`
	Gap    *metric.Gap    `json:"gap"`
	Logits *metric.Logits `json:"logits,omitzero"`
	Token  *Token         `json:"token,omitzero"`
	Local  *metric.Gap    `json:"local,omitzero"`
	Noise  *metric.Noise  `json:"noise,omitzero"`
	Floor  *Floor         `json:"floor,omitzero"`

	Routing *report.Routing `json:"routing,omitzero"`
	Whole   *metric.Gap     `json:"whole,omitzero"` // with the rows that are left out
	LeftOut int             `json:"left_out,omitzero"`
}

// Token is the token of a tensor's worst row.
type Token struct {
	Request  int    `json:"request"`
	Position int    `json:"position"`
	ID       *int   `json:"id,omitzero"`
	Text     string `json:"text,omitzero"`
}

// Floor is what a rounding.NoiseRatio is made of.
type Floor struct {
	DType     string      `json:"dtype"` // of the emulation
	Target    *metric.Gap `json:"target"`
	Emulation *metric.Gap `json:"emulation"`
	Apart     *metric.Gap `json:"apart"`
	Whole     float64     `json:"whole,omitzero"`
}

// OwnCalls tells which module calls of the replay of a target are those of a
// part: the same as of the comparison.
func OwnCalls(p shard.Part, target *il.Session) func(module string, call int) bool {
	return Assign(p, target).Own
}

// Assign deals the calls of the target first as a replay names them, which is
// all that a process that replays knows.
func Assign(p shard.Part, target *il.Session, others ...*il.Session) *shard.Units {
	canonical, _ := normalize.Canonical(target, nil, 0)
	return shard.Assign(p, append([]*il.Session{canonical}, others...)...)
}
