package policy

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/internal/terminal"
	"github.com/ilref/ilref/tensor"
)

// Margin is how many times the largest measured gap a suggested bound is.
const Margin = 2

// Suggest writes a policy that the given reports keep to: for every kind of
// module, direction and element type the largest gap times Margin, and at least
// one unit in the last place of the coarser type. It refuses reports of runs
// that cannot be known good, whatever was said: of other tokens, with integers
// that differ, with NaN on one side, or with nothing compared.
//
// cosine bounds follow from squares: 1-cos grows with the square of a gap.
func Suggest(w io.Writer, reports []*report.Report) error {
	kinds := map[kind]*gaps{}
	for _, r := range reports {
		if err := knownGood(r); err != nil {
			return err
		}
		for _, t := range r.Tensors {
			k := kindOf(t)
			if kinds[k] == nil {
				kinds[k] = &gaps{ulp: max(lastPlace(t.DTypes[0]), lastPlace(t.DTypes[1]))}
			}
			kinds[k].add(t)
		}
	}
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# Bounds from runs that are known good, by ildiff suggest: the largest gap of each\n# kind of module times %d, and never below one unit in the type's last place.\n#   reference %s\n", Margin, terminal.Printable(reports[0].Reference.Dir))
	for _, r := range reports {
		fmt.Fprintf(b, "#   run       %s: %d of %d tensors compared, %s by the rule %q\n", terminal.Printable(r.Target.Dir), r.Coverage.Compared, r.Coverage.Union(), r.Verdict, r.Rule)
	}
	fmt.Fprintf(b, "version: %d\nrules:\n", Version)
	ordered := make([]kind, 0, len(kinds))
	for k := range kinds {
		ordered = append(ordered, k)
	}
	slices.SortFunc(ordered, func(x, y kind) int {
		return cmp.Or(cmp.Compare(x.module, y.module), cmp.Compare(x.direction, y.direction), cmp.Compare(x.dtype, y.dtype))
	})
	for _, k := range ordered {
		k.write(b, kinds[k])
	}
	suggestLogprobs(b, reports)
	return b.Flush()
}

// knownGood refuses what no margin can make good.
func knownGood(r *report.Report) error {
	name := r.Target.Dir
	switch {
	case len(r.Workloads) > 0:
		return fmt.Errorf("suggest: %s: step %d ran other tokens than the reference: %s; suggest needs runs of the same prompts", name, r.Workloads[0].Forward, r.Workloads[0].Why)
	case len(r.Tensors) == 0:
		return fmt.Errorf("suggest: %s: nothing was compared with the reference", name)
	}
	for _, t := range r.Tensors {
		switch {
		case t.Gap.NaN[0] > 0:
			return fmt.Errorf("suggest: %s: %s holds NaN on both sides: bounds that are drawn from it would let NaN pass", name, t.Key)
		case t.Gap.NonFinite > 0:
			return fmt.Errorf("suggest: %s: %s has NaN or infinities where the reference has other values: no bound allows that", name, t.Key)
		case isInt(t) && !t.Gap.Identical():
			return fmt.Errorf("suggest: %s: the integers of %s differ from the reference's: no bound allows that", name, t.Key)
		}
	}
	return nil
}

func isInt(t *report.TensorDiff) bool { return t.DTypes[0].IsInt() && t.DTypes[1].IsInt() }

// kind is what one rule is written for.
type kind struct {
	module    string // a regex for the names that differ in numbers only
	direction string
	dtype     string // the coarser of the two; "" for integers
}

var number = regexp.MustCompile(`[0-9]+`)

func kindOf(t *report.TensorDiff) kind {
	name := number.ReplaceAllString(regexp.QuoteMeta(t.Module), `\d+`)
	d := t.DTypes[0]
	if lastPlace(t.DTypes[1]) > lastPlace(d) {
		d = t.DTypes[1]
	}
	return kind{"^" + name + "$", t.Direction, d.String()}
}

// gaps are the largest of a kind.
type gaps struct {
	ulp                     float64 // relative: the distance from 1 to the next value
	relL2, oneMinus, maxAbs float64
	at                      float64 // the largest magnitude seen where a largest difference was
	integers                bool
}

func (g *gaps) add(t *report.TensorDiff) {
	g.integers = isInt(t)
	g.relL2, g.oneMinus, g.maxAbs = max(g.relL2, t.Gap.RelL2), max(g.oneMinus, t.Gap.OneMinus), max(g.maxAbs, t.Gap.MaxAbs)
	g.at = max(g.at, math.Abs(t.Gap.Reference), math.Abs(t.Gap.Target))
}

func (k kind) write(w io.Writer, g *gaps) {
	fmt.Fprintf(w, "  - module: '%s'\n    direction: %s\n    dtype: %s\n", strings.ReplaceAll(k.module, "'", "''"), k.direction, k.dtype)
	if g.integers {
		fmt.Fprintf(w, "    max_abs: 0\n")
		return
	}
	fmt.Fprintf(w, "    judge: default\n    max_rel_l2: %s # measured %.2g\n", up(max(Margin*g.relL2, g.ulp)), g.relL2)
	// Of two vectors at a relative distance of e, 1-cos is e²/2 at most but for
	// terms of fourth order.
	c := max(-1, 1-roundUp(max(Margin*Margin*g.oneMinus, g.ulp*g.ulp, 1e-15))) // what float64 tells from 1
	fmt.Fprintf(w, "    min_cosine: %s # measured 1-%.2g\n", strconv.FormatFloat(c, 'g', -1, 64), g.oneMinus)
	if g.maxAbs > 0 {
		fmt.Fprintf(w, "    max_abs: %s # measured %.3g\n", up(max(Margin*g.maxAbs, g.ulp*g.at)), g.maxAbs)
	}
}

// up writes a bound in two digits, rounded up so that it is none too narrow.
func up(v float64) string { return strconv.FormatFloat(roundUp(v), 'g', -1, 64) }

// roundUp gives the least number of two decimal digits that is not below v.
func roundUp(v float64) float64 {
	s := strconv.FormatFloat(v, 'e', 1, 64)
	r, _ := strconv.ParseFloat(s, 64)
	if r >= v || r == 0 {
		return r
	}
	mantissa, exponent, _ := strings.Cut(s, "e")
	m, _ := strconv.Atoi(strings.Replace(mantissa, ".", "", 1))
	e, _ := strconv.Atoi(exponent)
	r, _ = strconv.ParseFloat(fmt.Sprintf("%de%d", m+1, e-1), 64)
	return r
}

// lastPlace is the distance from 1 to the next value of a type; 0 of integers.
func lastPlace(d tensor.DType) float64 {
	switch d {
	case tensor.Float64, tensor.Complex128:
		return 0x1p-52
	case tensor.Float32, tensor.Complex64:
		return 0x1p-23
	case tensor.Float16, tensor.Complex32:
		return 0x1p-10
	case tensor.BFloat16, tensor.BComplex32:
		return 0x1p-7
	}
	switch {
	case d == tensor.Float8E5M2, d == tensor.Float8E5M2FNUZ:
		return 0x1p-2
	case d.Kind() == tensor.KindPacked, d == tensor.Float8E8M0FNU:
		return 1
	case d.IsFloat(), d.Kind() == tensor.KindQuantized:
		return 0x1p-3
	}
	return 0
}
