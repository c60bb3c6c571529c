package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/internal/terminal"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// provenance holds what the session says of itself against what it recorded.
func (l *linter) provenance() {
	if !l.opts.NoValues {
		if w := requests.Contradicted(l.session); w != "" {
			l.addSession(Warning, "provenance-batches", "%s", w)
		}
	}
	p := l.session.Provenance()
	if p == nil {
		return
	}
	l.recordingEnded(p)
	l.saidOfModel(&p.Model)
	l.saidOfRanks(p)
	l.saidOfSteps(p.Steps)
}

// says begins a finding about a member of session.json.
func says(member string) string { return provenance.FileName + " says that " + member }

// recordingEnded tells how the recording ended, and what it lacks.
func (l *linter) recordingEnded(p *provenance.Record) {
	why := ""
	if p.Reason != "" {
		why = ": " + told(p.Reason)
	}
	switch p.Status {
	case provenance.Recording:
		l.addSession(Warning, "unfinished-run", "%s%s: the run is still going, or died: wait for its end, or record again", says("it is being recorded"), why)
	case provenance.Stopped:
		l.addSession(Warning, "unfinished-run", "%s%s: what it would have recorded then is not there", says("the recording was stopped before its end"), why)
	case provenance.Failed:
		l.addSession(Error, "failed-run", "%s%s: record again", says("the recording failed"), why)
	}
	if n := p.Incomplete.TensorsLost; n > 0 {
		l.addSession(Error, "lost-tensors", "%s: record again", says(plural.Count(n, "tensor")+" could not be written"))
	}
	if n := p.Incomplete.StepsCut; n > 0 {
		l.addSession(Warning, "cut-steps", "%s: its last tensors are not there", says(plural.Count(n, "step")+" ended before all of it was recorded"))
	}
	if r := p.Incomplete.RanksStopped; len(r) > 0 {
		l.addSession(Warning, "stopped-ranks", "%s: their parts of later steps are not there", says("ranks stopped recording: "+list(r)))
	}
}

// saidOfModel holds type, layers and width against the tensors.
func (l *linter) saidOfModel(m *provenance.Model) {
	if f := l.hidden(); f != nil {
		if d, ok := tensor.ParseDType(m.DType); ok && d != f.dtype {
			l.addSession(Warning, "provenance-dtype", "%s, but %s is %s, which counts", says("the model's dtype is "+d.String()), f.name(), f.dtype)
		}
		if n := len(f.shape); m.Hidden > 0 && n > 0 && f.shape[n-1] != m.Hidden {
			l.addSession(Warning, "provenance-hidden", "%s, but %s is %s: it is of another model", says(fmt.Sprintf("hidden states are %d wide", m.Hidden)), f.name(), tensor.ShapeString(f.shape))
		}
	}
	if m.Layers == 0 {
		return
	}
	for _, s := range l.steps {
		for _, c := range s.calls {
			if at := topology.Locate(c.Module); at.Layer >= m.Layers && at.Prefix == topology.Locate(topology.InLayer(0, "")).Prefix {
				l.addSession(Warning, "provenance-layers", "%s, but step %d records %s: it is of another model", says(fmt.Sprintf("the model has %s", plural.Count(m.Layers, "layer"))), s.number, c.name())
				return
			}
		}
	}
}

// hidden is the first tensor of hidden states, nil where none is recorded.
func (l *linter) hidden() *fact {
	for f := range l.each {
		if f.slot.Direction == il.Outputs && f.call.spec.Kind == topology.Embedding && f.err == nil {
			return f
		}
	}
	return nil
}

// saidOfRanks holds the labels of the ranks against the devices of the tensors.
func (l *linter) saidOfRanks(p *provenance.Record) {
	if len(p.Parallel.Ranks) == 0 {
		return
	}
	labels, used := map[string]bool{}, map[string]bool{}
	for _, r := range p.Parallel.Ranks {
		labels[r.Label] = true
	}
	var alien, idle []string
	for f := range l.each {
		if d := f.device(); !used[d] {
			used[d] = true
			if !labels[d] {
				alien = append(alien, d)
			}
		}
	}
	for _, r := range p.Parallel.Ranks {
		if !used[r.Label] && !slices.Contains(idle, r.Label) {
			idle = append(idle, r.Label)
		}
	}
	if len(alien) > 0 {
		l.addSession(Warning, "provenance-ranks", "%s, but tensors are of %s: files of two runs are mixed", says("the ranks are "+list(labelsOf(p.Parallel.Ranks))), list(alien))
		return
	}
	if len(idle) > 0 && l.Checked.Tensors > 0 {
		l.addSession(Info, "provenance-ranks", "of %s, which %s names, no tensor is there: the config leaves it out, or its files have gone", list(idle), provenance.FileName)
	}
}

func labelsOf(ranks []provenance.Rank) []string {
	var out []string
	for _, r := range ranks {
		out = append(out, r.Label)
	}
	return out
}

// saidOfSteps holds the recorded steps against the directories and their rows.
func (l *linter) saidOfSteps(said []provenance.Step) {
	if len(said) == 0 {
		return
	}
	byNumber := map[int]provenance.Step{}
	last := 0
	for _, s := range said {
		byNumber[s.Step], last = s, max(last, s.Step)
	}
	all := len(said) < provenance.MaxSteps
	have := map[int]bool{}
	var unsaid, gone []int
	for _, s := range l.steps {
		have[s.number] = true
		x, ok := byNumber[s.number]
		if !ok {
			if s.forward() && (all || s.number < last) {
				unsaid = append(unsaid, s.number)
			}
			continue
		}
		rows, from := s.rowCount()
		if x.PaddedTokens > 0 && rows >= 0 && rows != x.PaddedTokens {
			l.addStep(Warning, "provenance-rows", s.number, "%s, but there are %d by %s, which count", says(fmt.Sprintf("step %d has %s", s.number, plural.Count(x.PaddedTokens, "row"))), rows, from)
		}
	}
	for _, s := range said {
		if !have[s.Step] {
			gone = append(gone, s.Step)
		}
	}
	slices.Sort(gone)
	gone = slices.Compact(gone)
	if len(unsaid) > 0 {
		l.addSession(Warning, "provenance-steps", "%s does not name %s, which is recorded: files of two runs are mixed, or the run went on", provenance.FileName, stepNames(unsaid))
	}
	if len(gone) > 0 {
		shown := gone[:min(len(gone), 20)]
		l.addSession(Warning, "provenance-steps", "%s (%d in all), and there is no such directory: it has gone, or was not copied", says(stepNames(shown)+" was recorded"), len(gone))
	}
}

// list names the first few.
func list(names []string) string {
	const shown = 8
	out := []string{}
	for _, n := range names[:min(len(names), shown)] {
		out = append(out, told(n))
	}
	s := strings.Join(out, ", ")
	if more := len(names) - shown; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// told is a text from a file within a finding.
func told(s string) string {
	const most = 200
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return terminal.Printable(strings.Join(strings.Fields(s), " "))
}
