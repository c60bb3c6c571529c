package render

import (
	"fmt"
	"math"

	"github.com/ilref/ilref/compare/report"
)

// measure is the figure that a report is drawn by.
type measure struct {
	Name, Help string
	limits     []float64                        // of the colours
	write      func(float64) string             // the figure
	in, out    func(*report.TensorDiff) float64 // of an input, of an output; negative where the tensor has none
}

// gapMeasure is the gap itself.
var gapMeasure = measure{
	"rel_l2", "‖target − reference‖ / ‖reference‖ of the worst output",
	[]float64{1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1}, // rounding to bfloat16 is 1.7e-3
	report.Num, size, size,
}

// measureOf is what the report was judged by: the gap of the module alone, the
// gap in units of rounding, or the gap itself.
func measureOf(r *report.Report) measure {
	switch r.Rule {
	case report.RuleReplay:
		m := gapMeasure
		m.Name, m.Help = "local rel_l2", "the gap that the module itself adds: of its output against what the right module returns for the same inputs"
		m.out = func(t *report.TensorDiff) float64 {
			if t == nil || t.ReplayGap == nil {
				return -1
			}
			return sizeOf(t.ReplayGap)
		}
		return m
	case report.RuleFloor:
		of := func(t *report.TensorDiff) float64 {
			if t == nil || t.NoiseRatio == nil || math.IsNaN(t.NoiseRatio.Ratio) {
				return -1
			}
			return t.NoiseRatio.Ratio
		}
		return measure{
			"ratio", "how many times what rounding costs the worst output is off",
			[]float64{0.5, 0.9, 1.1, 1.5, 3, 10, 100},
			func(v float64) string { return fmt.Sprintf("%.3g", v) }, of, of,
		}
	}
	return gapMeasure
}

// color is the class of the colour of a figure: 0 for none, and a step a limit.
func (m *measure) color(v float64) string {
	if v == 0 {
		return "h0"
	}
	i := 0
	for i < len(m.limits) && v >= m.limits[i] {
		i++
	}
	return fmt.Sprintf("h%d", i+1)
}

// colorKey is one field of the legend.
type colorKey struct{ Class, Text string }

func (m *measure) legend() []colorKey {
	out := []colorKey{{"h0", "equal"}}
	for i, l := range m.limits {
		out = append(out, colorKey{fmt.Sprintf("h%d", i+1), fmt.Sprintf("<%g", l)})
	}
	return append(out, colorKey{fmt.Sprintf("h%d", len(m.limits)+1), fmt.Sprintf("≥%g", m.limits[len(m.limits)-1])})
}
