// Package lint says what is wrong with one session as a recording, before any
// number of it is compared with another's: files that are missing, cut short
// or contradict each other, buffers that were recorded after somebody wrote to
// them, and values that no run should give.
//
//	read      a hash and flags of every tensor, one pass each   read.go, flags.go
//	layout    module_calls.txt, directories, steps              layout.go, steps.go
//	slots     what a call recorded against what it should have  slots.go, side.go
//	tokens    ids, positions, rows of a step                    tokens.go
//	values    identities, frozen buffers, ranks, NaN            identity.go, frozen.go, ranks.go, values.go
//	origin    what the session says of itself                   provenance.go
//
// No tensor is kept: a session of 100,000 takes 240 MB, its own structure included.
package lint

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ilref/ilref/il"
)

// Severity is how much a finding weighs.
type Severity string

// The severities. An error makes figures of the tensors it names meaningless,
// a warning may, and an info only explains what the session looks like.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Info    Severity = "info"
)

var severities = []Severity{Error, Warning, Info}

// Finding is one thing that is wrong or odd.
type Finding struct {
	Severity  Severity
	Rule      string // a stable name in kebab case
	Step      int    // the first step that shows it; -1 for the whole session
	Steps     []int  // all steps that show it
	Module    string
	Call      int
	Direction il.Direction
	Slot      string
	Message   string // one sentence: what was found, and the way out
}

// Checked counts what was looked at.
type Checked struct {
	Steps, Calls, Tensors int
	Bytes                 int64 // logical bytes of the tensors that were read
	Identities            int   // pairs of slots that must hold the same bits
}

// Result is what lint found in a session, errors first, each severity in
// execution order.
type Result struct {
	Dir      string
	Findings []Finding
	Checked  Checked
}

// Count returns the number of findings of a severity.
func (r *Result) Count(s Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Options says how much to look at; the zero value is everything.
type Options struct {
	NoValues bool // open the tensors for their shapes, but read no values
}

// Session checks a session. What is wrong with it is in the result; the error
// is that of ctx, or of options that make no sense.
func Session(ctx context.Context, s *il.Session, o Options) (*Result, error) {
	l := newLinter(ctx, s, o)
	if err := l.read(); err != nil {
		return nil, err
	}
	for _, check := range []func(){
		l.filterQuirks, l.layout, l.sequence, l.slots, l.unreadable, l.tokens, l.rows,
		l.identities, l.frozen, l.ranks, l.nonFinite, l.constants, l.provenance,
	} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		check()
	}
	l.sort()
	return &l.Result, ctx.Err()
}

// linter holds the facts of a session and collects findings.
type linter struct {
	Result
	ctx     context.Context
	session *il.Session
	opts    Options
	steps   []*stepFacts
	usual   *usual
	devices int // how many tensors most slots hold: the ranks
	index   map[findingKey]int
	found   []place // of each finding, to sort by
}

type findingKey struct {
	severity  Severity
	rule      string
	module    string
	call      int
	direction il.Direction
	slot      string
}

type place struct{ step, order int }

// add records a finding at a call; of one that later steps repeat the first
// stays.
func (l *linter) add(severity Severity, rule string, c *callFacts, f *fact, format string, args ...any) {
	x := Finding{Severity: severity, Rule: rule, Step: c.step.number, Module: c.Module, Call: c.Index, Message: fmt.Sprintf(format, args...)}
	if f != nil {
		x.Direction, x.Slot = f.slot.Direction, f.slot.Path
	}
	l.put(x, c.order)
}

// addStep records a finding of a step as a whole, and addSession of all.
func (l *linter) addStep(severity Severity, rule string, step int, format string, args ...any) {
	l.put(Finding{Severity: severity, Rule: rule, Step: step, Message: fmt.Sprintf(format, args...)}, -1)
}

func (l *linter) addSession(severity Severity, rule, format string, args ...any) {
	l.addStep(severity, rule, -1, format, args...)
}

func (l *linter) put(x Finding, order int) {
	if x.Module != "" {
		k := findingKey{x.Severity, x.Rule, x.Module, x.Call, x.Direction, x.Slot}
		if i, ok := l.index[k]; ok {
			first := &l.Findings[i]
			if !slices.Contains(first.Steps, x.Step) {
				first.Steps = append(first.Steps, x.Step)
			}
			return
		}
		l.index[k] = len(l.Findings)
	}
	if x.Step >= 0 {
		x.Steps = []int{x.Step}
	}
	l.Findings = append(l.Findings, x)
	l.found = append(l.found, place{x.Step, order})
}

// sort puts the findings in order: severity, step, execution order, and the
// order of the rules.
func (l *linter) sort() {
	at := make([]int, len(l.Findings))
	for i := range at {
		at[i] = i
		slices.Sort(l.Findings[i].Steps)
	}
	slices.SortStableFunc(at, func(a, b int) int {
		x, y := l.Findings[a], l.Findings[b]
		return cmp.Or(cmp.Compare(slices.Index(severities, x.Severity), slices.Index(severities, y.Severity)),
			cmp.Compare(l.found[a].step, l.found[b].step), cmp.Compare(l.found[a].order, l.found[b].order))
	})
	out := make([]Finding, len(at))
	for i, j := range at {
		out[i] = l.Findings[j]
		if steps := out[i].Steps; len(steps) > 1 {
			out[i].Message += fmt.Sprintf(" (again in %s)", stepNames(steps[1:]))
		}
	}
	l.Findings = out
}
