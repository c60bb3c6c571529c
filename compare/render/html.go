package render

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/tensor"
)

const (
	closeLooks   = 24     // failing tensors that are taken apart
	tensorRows   = 20_000 // of the page; beyond it passing calls keep their line and the heat map only
	problemNames = 200    // that a list of the page shows
)

//go:embed page.tmpl
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// HTML writes the report as one page that needs neither network nor scripts,
// light or dark as the reader's system is.
func HTML(w io.Writer, r *report.Report, o Options) error {
	var b bytes.Buffer
	if err := page.Execute(&b, newPage(r, o)); err != nil {
		return err
	}
	_, err := w.Write(bytes.Map(printable, b.Bytes()))
	return err
}

// printable keeps what a page may hold; bytes that are no UTF-8 become U+FFFD
// by themselves.
func printable(c rune) rune {
	if c < ' ' && c != '\n' || c == 0x7f {
		return '\ufffd'
	}
	return c
}

// pageView is what the template shows; strings in it are plain text.
type pageView struct {
	Title, Verdict, Conclusion, Shortfall, Rule string
	Class                                       string
	Sides                                       []sideView
	Coverage                                    string
	Percent                                     string // of the coverage bar
	Fates                                       []fateView
	Findings                                    []Finding
	Setup, Routing                              []string
	Workloads                                   []string
	Looks                                       []*lookView
	LooksLeft                                   int
	Logprobs                                    *logprobView
	Legend                                      []colorKey
	Measure                                     measure
	Columns                                     []column
	Forwards                                    []*forwardView
	Short                                       bool // rows were left out
}

type sideView struct {
	Name, Dir, Steps, Types string
}

type fateView struct {
	What  string
	N     int
	Names []string
	More  int
}

type forwardView struct {
	Name, Summary string
	Open          bool
	Heat          heatMap
	Depth         *depthPlot
	Groups        []*groupView
}

// groupView is a layer, or what lies between two.
type groupView struct {
	Name, Class, Summary string
	Open                 bool
	Calls                []*callView
	Columns              []column // of the table of its tensors
}

// called is embedded under a name that does not hide its field Module.
type called = report.CallDiff

// callView is a module call with its tensors.
type callView struct {
	*called
	measure *measure
	ID      int
	Class   string
	Word    string
	Rows    []rowView
	Empty   bool // no tensor has a row, though some were compared
}

type rowView struct {
	Name, Class, Word string
	Look              int // of the tensor's close look, 0 for none
	Cells             []string
	Equal             bool // to the bit: words instead of figures
}

// gap is the figure of the heat map: that of the worst output, of the worst
// input where there is no output, -1 where nothing was compared.
func (c *callView) gap() float64 {
	if c.Outputs != nil {
		return c.measure.out(c.Outputs)
	}
	return c.measure.in(c.Inputs)
}

func newPage(r *report.Report, o Options) *pageView {
	p := &pageView{
		Title: fmt.Sprintf("ildiff: %s", title(r)), Verdict: title(r), Class: verdictClass(r.Verdict),
		Conclusion: conclusion(r), Shortfall: shortfall(r), Rule: rule(r, o.Bounds),
		Coverage: coverage(&r.Coverage), Percent: fmt.Sprintf("%.1f", r.Coverage.Percent()),
		Findings: findings(r, o), Setup: report.SetupLines(r.Setup), Routing: report.RoutingLines(r), Measure: measureOf(r), Columns: columnsOf(r), Logprobs: newLogprobView(r.Logprobs),
	}
	p.Legend = p.Measure.legend()
	for _, s := range []struct {
		name string
		report.Side
	}{{"reference", r.Reference}, {"target", r.Target}} {
		p.Sides = append(p.Sides, sideView{s.name, s.Dir, plural.Count(len(s.Steps), "step"), strings.Join(s.DTypes, ", ")})
	}
	for _, f := range fates(&r.Coverage) {
		if f.n > 0 {
			shown := min(len(f.names), problemNames)
			p.Fates = append(p.Fates, fateView{f.what, f.n, f.names[:shown], f.n - shown})
		}
	}
	for _, w := range r.Workloads {
		p.Workloads = append(p.Workloads, fmt.Sprintf("step %d was not judged: %s", w.Forward, w.Why))
	}
	looks := p.closeLooks(r, o)
	p.forwards(r, looks)
	return p
}

func verdictClass(v report.Verdict) string {
	switch v {
	case report.Pass:
		return "ok"
	case report.Fail:
		return "bad"
	case report.NotCompared:
		return "off"
	}
	return "warn"
}

// forwards groups the calls by forward and layer.
func (p *pageView) forwards(r *report.Report, looks map[*report.TensorDiff]int) {
	byCall := map[callID][]*report.TensorDiff{}
	for _, t := range r.Tensors {
		byCall[callOfTensor(t)] = append(byCall[callOfTensor(t)], t)
	}
	p.Short = len(r.Tensors) > tensorRows
	for i := 0; i < len(r.Modules); {
		var calls []*callView
		for forward := r.Modules[i].Forward; i < len(r.Modules) && r.Modules[i].Forward == forward; i++ {
			m := r.Modules[i]
			c := &callView{called: m, measure: &p.Measure, ID: i + 1, Class: verdictClass(m.Verdict), Word: word(m.Verdict)}
			if c.Empty = p.Short && m.Verdict == report.Pass; !c.Empty {
				for _, t := range byCall[callOf(m)] {
					c.Rows = append(c.Rows, p.row(t, looks[t]))
				}
			}
			calls = append(calls, c)
		}
		f := newForward(calls, r.FirstDivergence)
		for _, g := range f.Groups {
			g.trim(p.Columns)
		}
		p.Forwards = append(p.Forwards, f)
	}
	if r.FirstDivergence == nil && len(p.Forwards) > 0 {
		p.Forwards[0].Open = true
	}
}

func (p *pageView) row(t *report.TensorDiff, look int) rowView {
	v := rowView{Name: report.SlotName(t.Key), Class: verdictClass(t.Verdict), Word: word(t.Verdict), Look: look}
	v.Equal = t.Gap.Identical() && t.Gap.NaN == [2]int{} && t.Gap.Inf == [2]int{}
	for _, c := range p.Columns {
		if v.Equal && c.Title != "type" && c.Title != "shape" && c.Title != "rank" {
			break
		}
		v.Cells = append(v.Cells, c.of(t))
	}
	return v
}

func newForward(calls []*callView, d *report.Divergence) *forwardView {
	f := &forwardView{Name: fmt.Sprintf("step %d", calls[0].Forward), Heat: newHeatMap(calls), Depth: newDepthPlot(calls)}
	fails := 0
	var g *groupView
	for _, c := range calls {
		if c.Verdict == report.Fail {
			fails++
		}
		here := d != nil && c.Step == d.Step && c.Module == d.Module && c.Call == d.Call
		f.Open = f.Open || here
		name := "outside layers"
		if c.Layer >= 0 {
			name = fmt.Sprintf("layer %d", c.Layer)
		}
		if g == nil || g.Name != name {
			g = &groupView{Name: name}
			f.Groups = append(f.Groups, g)
		}
		g.Calls = append(g.Calls, c)
		g.Open = g.Open || here
	}
	for _, g := range f.Groups {
		g.summarise()
	}
	f.Summary = callCount(calls)
	if fails > 0 {
		f.Summary += fmt.Sprintf(", %d failing", fails)
	}
	if w := worstCall(calls); w != nil {
		f.Summary += fmt.Sprintf(", worst %s %s at %s", w.measure.Name, w.measure.write(w.gap()), w.Name())
	}
	return f
}

func (g *groupView) summarise() {
	g.Class = "off"
	for _, class := range []string{"ok", "warn", "bad"} {
		for _, c := range g.Calls {
			if c.Class == class {
				g.Class = class
			}
		}
	}
	g.Summary = callCount(g.Calls)
	switch w := worstCall(g.Calls); {
	case g.Class == "off":
	case w == nil:
		g.Summary += ", no gap"
	default:
		g.Summary += fmt.Sprintf(", worst %s %s", w.measure.Name, w.measure.write(w.gap()))
	}
}

// callCount says how many calls there are, and how many were not compared.
func callCount(calls []*callView) string {
	off := 0
	for _, c := range calls {
		if c.Verdict == report.NotCompared {
			off++
		}
	}
	switch s := plural.Count(len(calls), "module call"); off {
	case 0:
		return s
	case len(calls):
		return s + ", not compared"
	default:
		return fmt.Sprintf("%s, %d not compared", s, off)
	}
}

// worstCall is that with the largest gap, nil where there is none.
func worstCall(calls []*callView) *callView {
	var w *callView
	for _, c := range calls {
		if c.gap() > 0 && (w == nil || c.gap() > w.gap()) {
			w = c
		}
	}
	return w
}

// lookView takes one tensor apart.
type lookView struct {
	ID              int
	Name, Why, Hint string
	Class, Word     string
	Figures         [][2]string
	Missing         string // why there is no more than the figures
	Values          string
	Bars, Strip     []bar
	X, StripX       []tick
	Bins            [][2]string
	Rows            []colorKey // of the strip, as a table
	Worst           [][4]string
}

// closeLooks takes the first divergence and the failing tensors apart, and
// gives the number of each.
func (p *pageView) closeLooks(r *report.Report, o Options) map[*report.TensorDiff]int {
	of := map[callID]*report.CallDiff{}
	for _, m := range r.Modules {
		of[callOf(m)] = m
	}
	var first, rest []*report.TensorDiff
	for _, t := range r.Tensors {
		switch d := r.FirstDivergence; {
		case d != nil && t.Key == d.Key:
			first = append(first, t)
		case t.Verdict == report.Fail:
			rest = append(rest, t)
		}
	}
	ids := map[*report.TensorDiff]int{}
	for i, t := range append(first, rest...) {
		if i == closeLooks {
			p.LooksLeft = len(first) + len(rest) - i
			break
		}
		v := newLook(t, o)
		v.ID = i + 1
		if m := of[callOfTensor(t)]; m != nil {
			v.Why = m.Why
			if m.Hint != "" {
				v.Hint = guess(m.Hint)
			}
		}
		ids[t] = v.ID
		p.Looks = append(p.Looks, v)
	}
	return ids
}

func newLook(t *report.TensorDiff, o Options) *lookView {
	v := &lookView{Name: location(t.Key, -1), Class: verdictClass(t.Verdict), Word: word(t.Verdict)}
	for _, c := range columns {
		if s := c.of(t); s != "" {
			v.Figures = append(v.Figures, [2]string{c.Title, s})
		}
	}
	if o.Reread == nil {
		return v
	}
	var a *anatomy
	err := o.Reread(t, func(x, y *tensor.Tensor) (err error) {
		a, err = dissect(x, y)
		return err
	})
	if err != nil {
		v.Missing = err.Error()
		return v
	}
	v.fill(a)
	return v
}

func (v *lookView) fill(a *anatomy) {
	v.Values = fmt.Sprintf("%d of %s differ", a.values-a.equal, plural.Count(a.values, "value"))
	if a.nonFinite > 0 {
		v.Values += fmt.Sprintf("; in %d, left out here, NaN or an infinity meets another value", a.nonFinite)
	}
	v.Bars, v.X = histogramBars(a.histogram)
	for _, b := range a.histogram {
		v.Bins = append(v.Bins, [2]string{fmt.Sprintf("%.3g to %.3g", b.from, b.to), fmt.Sprint(b.n)})
	}
	v.Strip, v.StripX = stripBars(a.rows)
	for _, g := range a.rows {
		v.Rows = append(v.Rows, colorKey{gapMeasure.color(g.relL2), rowName(g) + ": " + report.Num(g.relL2)})
	}
	for _, e := range a.worst {
		d := amount(e.d, 4)
		if math.IsInf(e.d, 0) {
			d = "not finite"
		}
		v.Worst = append(v.Worst, [4]string{tensor.ShapeString(e.at), amount(e.reference, 6), amount(e.target, 6), d})
	}
}
