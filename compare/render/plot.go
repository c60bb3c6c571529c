package render

import (
	"fmt"
	"math"
	"strings"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/internal/plural"
)

// A plot is laid out in these units, which are pixels at its natural width.
const (
	plotWidth  = 1000
	plotLeft   = 52 // room for the labels of the y axis
	plotRight  = 8
	plotTop    = 8
	plotHeight = 190 // of the area, without the labels of the x axis
)

// tick is a line of the grid with its label.
type tick struct {
	At   string
	Text string
}

// px writes a coordinate.
func px(v float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") }

// depthPlot is the gap along the calls of a forward, on a log scale: the line
// of the inputs is what a module inherits, that of the outputs what it hands on.
type depthPlot struct {
	Y, X            []tick
	Inputs, Outputs string // paths
	Fails           []depthMark
	Name, Label     string
}

type depthMark struct{ X, Y, Title string }

// logScale maps figures to heights: decades, below them a lane for 0 and above
// one for what is no number.
type logScale struct{ low, high int }

func (s logScale) y(v float64) float64 {
	lanes := float64(s.high - s.low + 2)
	at := math.Log10(v) - float64(s.low) + 1
	switch {
	case v == 0:
		at = 0
	case math.IsInf(v, 1):
		at = lanes
	}
	return plotTop + plotHeight*(1-at/lanes)
}

func (s logScale) ticks() []tick {
	out := []tick{{px(s.y(0)), "equal"}}
	every := max(1, (s.high-s.low)/8)
	for e := s.low; e <= s.high; e += every {
		out = append(out, tick{px(s.y(math.Pow10(e))), fmt.Sprintf("1e%d", e)})
	}
	return append(out, tick{px(s.y(math.Inf(1))), "NaN/Inf"})
}

// newDepthPlot draws the modules that contain no other, in execution order.
// nil where nothing differs.
func newDepthPlot(calls []*callView) *depthPlot {
	calls = leaves(calls)
	scale := logScale{low: math.MaxInt, high: math.MinInt}
	infinite := false
	for _, c := range calls {
		for _, v := range []float64{c.measure.in(c.Inputs), c.measure.out(c.Outputs)} {
			switch {
			case math.IsInf(v, 1):
				infinite = true
			case v > 0:
				scale.low = min(scale.low, int(math.Floor(math.Log10(v))))
				scale.high = max(scale.high, int(math.Ceil(math.Log10(v))))
			}
		}
	}
	switch {
	case scale.low > scale.high && !infinite:
		return nil
	case scale.low > scale.high:
		scale = logScale{-3, 0}
	}
	p := &depthPlot{Y: scale.ticks(), Name: calls[0].measure.Name, Label: fmt.Sprintf("%s of the inputs and outputs of %s in execution order, on a log scale", calls[0].measure.Name, plural.Count(len(calls), "module call"))}
	x := func(i int) float64 {
		return plotLeft + (plotWidth-plotLeft-plotRight)*(float64(i)+0.5)/float64(len(calls))
	}
	p.Inputs = linePath(calls, x, scale, func(c *callView) float64 { return c.measure.in(c.Inputs) })
	p.Outputs = linePath(calls, x, scale, func(c *callView) float64 { return c.measure.out(c.Outputs) })
	for i, c := range calls {
		if c.Verdict == report.Fail {
			p.Fails = append(p.Fails, depthMark{px(x(i)), px(scale.y(max(0, c.gap()))), c.Name() + ": " + cut(c.Why, 200)})
		}
	}
	p.X = layerTicks(calls, x)
	return p
}

// leaves leaves out containers: their outputs are those of calls within them.
func leaves(calls []*callView) []*callView {
	contains := map[string]bool{}
	for _, c := range calls {
		for i, b := range []byte(c.Module) {
			if b == '.' {
				contains[c.Module[:i]] = true
			}
		}
	}
	var out []*callView
	for _, c := range calls {
		if !contains[c.Module] {
			out = append(out, c)
		}
	}
	return out
}

func linePath(calls []*callView, x func(int) float64, s logScale, of func(*callView) float64) string {
	var b strings.Builder
	for i, c := range calls {
		if v := of(c); v >= 0 {
			op := 'L'
			if b.Len() == 0 {
				op = 'M'
			}
			fmt.Fprintf(&b, "%c%s %s", op, px(x(i)), px(s.y(v)))
		}
	}
	return b.String()
}

// layerTicks marks where layers begin, at most some twenty of them.
func layerTicks(calls []*callView, x func(int) float64) []tick {
	var out []tick
	last := -1
	for i, c := range calls {
		if c.Layer > last {
			last = c.Layer
			out = append(out, tick{px(x(i)), fmt.Sprint(c.Layer)})
		}
	}
	every := (len(out) + 19) / 20
	var thin []tick
	for i := 0; i < len(out); i += max(1, every) {
		thin = append(thin, out[i])
	}
	return thin
}

// bar is a rectangle of a plot.
type bar struct {
	X, Y, W, H, Class, Title string
}

const barHeight = 90

// histogramBars draws counts on a log scale, so that a single outlier is seen
// beside millions.
func histogramBars(h []bin) (bars []bar, labels []tick) {
	most := 1
	for _, b := range h {
		most = max(most, b.n)
	}
	w := float64(plotWidth-8) / float64(max(len(h), 8))
	for i, b := range h {
		x := 4 + w*float64(i)
		if b.n > 0 {
			y := barHeight * (0.06 + 0.94*math.Log1p(float64(b.n))/math.Log1p(float64(most)))
			bars = append(bars, bar{px(x), px(plotTop + barHeight - y), px(w * 0.9), px(y), "", fmt.Sprintf("%.3g to %.3g: %s", b.from, b.to, plural.Count(b.n, "value"))})
		}
		if every := (len(h) + 9) / 10; i%every == 0 {
			labels = append(labels, tick{px(x), fmt.Sprintf("%.1g", b.from)})
		}
	}
	return bars, labels
}

// stripBars draws a bar a row, as high as its gap on a log scale and in the
// colour of the heat map.
func stripBars(rows []rowGap) (bars []bar, labels []tick) {
	w := float64(plotWidth-8) / float64(max(len(rows), 8))
	for i, g := range rows {
		x := 4 + w*float64(i)
		y := barHeight * min(1, max(0.06, 1+math.Log10(g.relL2)/6)) // 1e-6 to 1
		bars = append(bars, bar{px(x), px(plotTop + barHeight - y), px(max(w*0.9, w-2)), px(y), gapMeasure.color(g.relL2), rowName(g) + ": rel_l2 " + report.Num(g.relL2)})
		if every := (len(rows) + 9) / 10; i%every == 0 {
			labels = append(labels, tick{px(x), fmt.Sprint(g.first)})
		}
	}
	return bars, labels
}

// rowName names a row, or a run of rows and the worst in it.
func rowName(g rowGap) string {
	if g.first == g.last {
		return fmt.Sprintf("row %d", g.first)
	}
	return fmt.Sprintf("row %d, the worst of %d to %d", g.worst, g.first, g.last)
}
