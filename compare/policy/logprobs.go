package policy

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/topology"
)

// logprobs reads the bounds of the tokens that were run.
func (p *parser) logprobs(n *yaml.Node) (*report.LogprobBounds, error) {
	b := &report.LogprobBounds{}
	err := p.mapping(n, "logprobs", report.LogprobBoundNames, func(key, v *yaml.Node) error {
		low, high, want := 0.0, math.MaxFloat64, "a number, 0 or more"
		switch key.Value {
		case "min_ess":
			high, want = 1, "a share of the tokens, 0 to 1"
		case "max_clipped":
			high, want = 1, "a share of the tokens, 0 to 1"
		case "mean_exp_abs_log_ratio":
			low, want = 1, "a number, 1 (of equal sides) or more"
		}
		x, err := strconv.ParseFloat(v.Value, 64)
		if v.Kind != yaml.ScalarNode || err != nil || !(x >= low && x <= high) {
			return p.errorAt(v, "%s: want %s, found %s", key.Value, want, shown(v))
		}
		*b.Field(key.Value) = &x
		return nil
	})
	if err == nil && !b.Set() {
		names := strings.Join(report.LogprobBoundNames[:len(report.LogprobBoundNames)-1], ", ")
		err = p.errorAt(n, "logprobs bound nothing: give one of %s", names)
	}
	return b, err
}

// suggestLogprobs writes bounds of logprobs that all reports keep to, where all have
// some: the figures times Margin, and no less than what one unit in the last place
// of a logit does to them.
func suggestLogprobs(w io.Writer, reports []*report.Report) {
	var most report.LogprobFigures
	least, unit := 1.0, 0.0
	for _, r := range reports {
		l := r.Logprobs
		if l == nil || len(l.Tokens) == 0 || l.Infinite+l.Undefined > 0 {
			return
		}
		most.MaxAbs, most.MeanAbs = max(most.MaxAbs, l.MaxAbs), max(most.MeanAbs, l.MeanAbs)
		most.MaxKL[0] = max(most.MaxKL[0], l.MaxKL[0], l.MaxKL[1])
		most.Clipped, least = max(most.Clipped, l.Clipped), min(least, l.ESS)
		unit = max(unit, logitUnit(r))
	}
	fmt.Fprintf(w, "logprobs:\n")
	fmt.Fprintf(w, "  max_abs_log_ratio: %s # measured %.2g\n", up(max(Margin*most.MaxAbs, unit)), most.MaxAbs)
	fmt.Fprintf(w, "  mean_abs_log_ratio: %s # measured %.2g\n", up(max(Margin*most.MeanAbs, unit)), most.MeanAbs)
	// A divergence is half of a mean square, and so is what the sample loses.
	fmt.Fprintf(w, "  max_kl: %s # measured %.2g\n", up(max(Margin*Margin*most.MaxKL[0], unit*unit/2)), most.MaxKL[0])
	ess := max(0, 1-roundUp(max(Margin*Margin*(1-least), unit*unit)))
	fmt.Fprintf(w, "  min_ess: %s # measured %.6g\n", strconv.FormatFloat(ess, 'g', -1, 64), least)
	fmt.Fprintf(w, "  max_clipped: %s # measured %.2g\n", up(min(1, Margin*most.Clipped)), most.Clipped)
}

// logitUnit is one unit in the last place of the largest logit of a run token.
func logitUnit(r *report.Report) float64 {
	relative, size := 0.0, 0.0
	for _, t := range r.Tensors {
		if t.Direction == report.Outputs && topology.Of(t.Module).Kind.IsHead() {
			relative = max(relative, lastPlace(t.DTypes[0]), lastPlace(t.DTypes[1]))
		}
	}
	for i := range r.Logprobs.Tokens {
		size = max(size, r.Logprobs.Tokens[i].Logit)
	}
	return relative * size
}
