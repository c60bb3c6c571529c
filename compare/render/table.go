package render

import (
	"fmt"
	"math"
	"strconv"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/internal/texttab"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// foldAbove is the number of module calls beyond which forwards that add
// nothing are folded to one line.
const foldAbove = 200

// moduleTable has one line a module call: the worst of its outputs and the
// worst of its inputs. In a long report the first forward and that of the first
// divergence are shown in full, runs of others in a line.
func moduleTable(r *report.Report) *texttab.Table {
	e := evidenceOf(r)
	out, in := "rel_l2 out", "rel_l2 in"
	if e.replay {
		out, in = "accumulated", "inherited"
	}
	tab := &texttab.Table{Columns: []texttab.Column{
		{Title: "step", Right: true},
		{Title: "module"},
		{Title: out, Right: true},
		{Title: "max_abs", Right: true, Priority: 1},
		{Title: "1-cos", Right: true, Priority: 2},
		{Title: "norm ratio", Right: true, Priority: 4},
		{Title: "mismatched", Right: true, Priority: 3},
		{Title: in, Right: true},
	}}
	tab.Columns = append(tab.Columns, e.columns()...)
	tab.Columns = append(tab.Columns, texttab.Column{Title: "verdict"})
	forwards := byForward(r.Modules)
	for i := 0; i < len(forwards); {
		if len(r.Modules) <= foldAbove || i == 0 || holds(forwards[i], r.FirstDivergence) {
			addForward(tab, forwards[i], e)
			i++
			continue
		}
		j := i + 1
		for j < len(forwards) && !holds(forwards[j], r.FirstDivergence) && foldVerdict(forwards[j]) == foldVerdict(forwards[i]) {
			j++
		}
		addFold(tab, forwards[i:j])
		i = j
	}
	return tab
}

func byForward(ms []*report.CallDiff) [][]*report.CallDiff {
	var out [][]*report.CallDiff
	for _, m := range ms {
		if n := len(out); n > 0 && out[n-1][0].Forward == m.Forward {
			out[n-1] = append(out[n-1], m)
		} else {
			out = append(out, []*report.CallDiff{m})
		}
	}
	return out
}

func holds(ms []*report.CallDiff, d *report.Divergence) bool {
	if d == nil {
		return false
	}
	for _, m := range ms {
		if m.Step == d.Step && m.Module == d.Module && m.Call == d.Call {
			return true
		}
	}
	return false
}

// addForward gives calls in a row that were not compared, for one reason, a
// line together.
func addForward(tab *texttab.Table, ms []*report.CallDiff, e shownEvidence) {
	for i := 0; i < len(ms); {
		m, j := ms[i], i+1
		if m.Verdict != report.NotCompared {
			addModule(tab, m, e)
			i++
			continue
		}
		for j < len(ms) && ms[j].Verdict == report.NotCompared && ms[j].Step == m.Step && ms[j].Why == m.Why {
			j++
		}
		name := m.Name()
		if j > i+1 {
			name += " and " + plural.Count(j-i-1, "call") + " after it"
		}
		tab.AddSpan(texttab.Cell{Text: strconv.Itoa(m.Step)}, texttab.Cell{Text: name + ": not compared, " + m.Why, Style: texttab.Dim})
		i = j
	}
}

func addModule(tab *texttab.Table, m *report.CallDiff, e shownEvidence) {
	cells := []texttab.Cell{{Text: strconv.Itoa(m.Step)}, {Text: m.Name()}, {}, {}, {}, {}, {}, {}}
	if t := m.Outputs; t != nil {
		g := t.Gap
		for i, s := range []string{report.RelL2(t), report.Amount(g.MaxAbs), report.Angle(t), ratio(g.NormRatio), report.Percent(report.MismatchedShare(g))} {
			cells[2+i] = figure(s)
		}
	}
	if m.Inputs != nil {
		cells[7] = figure(report.RelL2(m.Inputs))
	}
	cells = append(cells, e.cells(m)...)
	tab.Add(append(cells, verdictCell(m))...)
}

// shownEvidence says which columns a table has beside those of two sessions.
type shownEvidence struct{ replay, noise, floor bool }

func evidenceOf(r *report.Report) shownEvidence {
	var e shownEvidence
	for _, t := range r.Tensors {
		e.replay, e.noise, e.floor = e.replay || t.ReplayGap != nil, e.noise || t.Noise != nil, e.floor || t.NoiseRatio != nil
	}
	return e
}

func (e shownEvidence) columns() []texttab.Column {
	var out []texttab.Column
	if e.replay {
		out = append(out, texttab.Column{Title: "local", Right: true})
	}
	if e.noise {
		out = append(out, texttab.Column{Title: "× noise", Right: true})
	}
	if e.floor {
		out = append(out, texttab.Column{Title: "ratio", Right: true}, texttab.Column{Title: "ratio token", Right: true})
	}
	return out
}

func (e shownEvidence) cells(m *report.CallDiff) []texttab.Cell {
	known := func(v float64, format func(float64) string) texttab.Cell {
		if math.IsNaN(v) {
			return texttab.Cell{Text: "–", Style: texttab.Dim}
		}
		return figure(format(v))
	}
	var out []texttab.Cell
	if e.replay {
		out = append(out, known(m.Local, report.Num))
	}
	if e.noise {
		out = append(out, known(m.Noise, report.Amount))
	}
	if e.floor {
		out = append(out, known(m.Ratio, report.Amount), known(m.RatioToken, report.Amount))
	}
	return out
}

// figure is dim where there is no gap.
func figure(s string) texttab.Cell {
	if s == "0" || s == "0 %" || s == "1" {
		return texttab.Cell{Text: s, Style: texttab.Dim}
	}
	return texttab.Cell{Text: s}
}

func ratio(v float64) string {
	if v == 0 || v == 1 || v >= 1000 {
		return fmt.Sprintf("%.3g", v)
	}
	return fmt.Sprintf("%.5f", v)
}

func verdictCell(m *report.CallDiff) texttab.Cell {
	c := verdictStyle(m.Verdict)
	if topology.Of(m.Module).Kind == topology.Rope && m.Verdict == report.Fail {
		c.Text += fmt.Sprintf(" (layer %d)", m.Layer)
	}
	if m.Compared < m.Tensors {
		c.Text += fmt.Sprintf(" (%d of %d)", m.Compared, m.Tensors) // tensors that were compared
	}
	for _, t := range []*report.TensorDiff{m.Outputs, m.Inputs} {
		if t != nil && (t.Gap.NaN != [2]int{} || t.Gap.Inf != [2]int{}) {
			c.Text += " (NaN or Inf)"
			break
		}
	}
	return c
}

func verdictStyle(v report.Verdict) texttab.Cell {
	switch v {
	case report.Pass:
		return texttab.Cell{Text: "ok", Style: texttab.Green}
	case report.Fail:
		return texttab.Cell{Text: "FAIL", Style: texttab.Red}
	case report.Inherited:
		return texttab.Cell{Text: "inherited", Style: texttab.Yellow}
	}
	return texttab.Cell{Text: string(v), Style: texttab.Dim}
}

// foldVerdict is what a folded line says of a forward: its worst verdict.
func foldVerdict(ms []*report.CallDiff) report.Verdict {
	worst := report.NotCompared
	for _, m := range ms {
		switch {
		case m.Verdict == report.Fail:
			return report.Fail
		case m.Verdict == report.Inherited, worst == report.NotCompared:
			worst = m.Verdict
		}
	}
	return worst
}

func addFold(tab *texttab.Table, fs [][]*report.CallDiff) {
	calls := 0
	var worst *report.TensorDiff
	for _, ms := range fs {
		calls += len(ms)
		for _, m := range ms {
			if m.Outputs != nil {
				worst = report.Worse(worst, m.Outputs)
			}
		}
	}
	v := verdictStyle(foldVerdict(fs[0]))
	text := fmt.Sprintf("%s, %s", plural.Count(calls, "module call"), v.Text)
	if worst != nil {
		text += ", all outputs equal to the bit"
		if !worst.Gap.Identical() {
			text = fmt.Sprintf("%s, %s, at worst rel_l2 out %s (step %d, %s)", plural.Count(calls, "module call"), v.Text, report.Num(worst.Gap.RelL2), worst.Step, il.CallName(worst.Module, worst.Call))
		}
	}
	tab.AddSpan(texttab.Cell{Text: report.StepRange{First: fs[0][0].Forward, Last: fs[len(fs)-1][0].Forward}.String()}, texttab.Cell{Text: text, Style: v.Style})
}

// tensorTable has one line a compared tensor.
func tensorTable(r *report.Report) *texttab.Table {
	tab := &texttab.Table{Columns: []texttab.Column{
		{Title: "step", Right: true},
		{Title: "module"},
		{Title: "tensor"},
		{Title: "dtype", Priority: 5},
		{Title: "shape", Priority: 5},
		{Title: "rel_l2", Right: true},
		{Title: "max_abs", Right: true, Priority: 1},
		{Title: "at", Priority: 2},
		{Title: "reference", Right: true, Priority: 2},
		{Title: "target", Right: true, Priority: 2},
		{Title: "1-cos", Right: true, Priority: 3},
		{Title: "norm ratio", Right: true, Priority: 6},
		{Title: "mismatched", Right: true, Priority: 4},
		{Title: "NaN", Right: true, Priority: 7},
		{Title: "Inf", Right: true, Priority: 7},
		{Title: "verdict"},
	}}
	for _, t := range r.Tensors {
		g := t.Gap
		name := t.Direction
		if t.Slot != "" {
			name += "_" + t.Slot
		}
		at, ref, tgt := "", "", ""
		if g.MaxAbsAt != nil {
			at, ref, tgt = tensor.ShapeString(g.MaxAbsAt), report.Shown(g.Reference), report.Shown(g.Target)
		}
		tab.Add(texttab.Cell{Text: strconv.Itoa(t.Step)}, texttab.Cell{Text: il.CallName(t.Module, t.Call)}, texttab.Cell{Text: name},
			texttab.Cell{Text: report.TypeNames(t)}, texttab.Cell{Text: tensor.ShapeString(t.Shape)},
			figure(report.RelL2(t)), figure(report.Amount(g.MaxAbs)), texttab.Cell{Text: at}, texttab.Cell{Text: ref}, texttab.Cell{Text: tgt},
			figure(report.Angle(t)), figure(ratio(g.NormRatio)), figure(report.Percent(report.MismatchedShare(g))),
			figure(bothSides(g.NaN)), figure(bothSides(g.Inf)), verdictStyle(t.Verdict))
	}
	return tab
}

// bothSides writes the counts of the two sides, "0" where both are.
func bothSides(n [2]int) string {
	if n == [2]int{} {
		return "0"
	}
	return fmt.Sprintf("%d/%d", n[0], n[1])
}
