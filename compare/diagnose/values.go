package diagnose

import (
	"fmt"
	"math"

	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

func sqrt(v float64) float64 { return math.Sqrt(v) }

// fit is the factor that brings r nearest to t, and what is left of t.
func fit(r, t []float64) (scale, rest float64) {
	var rt, rr, tt float64
	for i, a := range r {
		rt += float64(a * t[i])
		rr += float64(a * a)
		tt += float64(t[i] * t[i])
	}
	if rr == 0 || tt == 0 {
		return 0, 1
	}
	scale = rt / rr
	return scale, sqrt(max(0, tt-float64(scale*rt)) / tt)
}

// constantScale is about one factor for all values.
func (s *suspect) constantScale() string {
	k, rest := fit(s.r, s.t)
	if rest > s.noise || math.Abs(k-1) <= s.noise/2 {
		return ""
	}
	lo, hi := s.scales()
	if hi-lo > max(1.5*s.noise, math.Abs(k-1)/4) {
		return ""
	}
	what := "a wrong constant factor"
	switch root := sqrt(float64(s.cols)); {
	case s.Of.Kind == topology.Experts:
		what += ", as of the routed scale (routed_scaling_factor)"
	case (s.Of.Kind == topology.Layer || s.Of.Kind == topology.Embedding) && s.Layer <= 0 && (math.Abs(k*root-1) < 0.01 || math.Abs(k/root-1) < 0.01):
		what += fmt.Sprintf(", the scale of the embedding (the root of its width, %.4g)", root)
	}
	return fmt.Sprintf("%s: the target is %.4g times the reference, and nothing but rounding (rel_l2 %s) is left then", what, k, report.Num(rest))
}

// scales is the range of the factors of rows.
func (s *suspect) scales() (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for i := range s.rows {
		if r, t := s.at(i); !zero(r) {
			k, _ := fit(r, t)
			lo, hi = min(lo, k), max(hi, k)
		}
	}
	return lo, hi
}

// rowScale is about a factor of each token's own.
func (s *suspect) rowScale() string {
	for i := range s.rows {
		r, t := s.at(i)
		if zero(r) && zero(t) {
			continue
		}
		if _, rest := fit(r, t); rest > s.noise {
			return ""
		}
	}
	lo, hi := s.scales()
	if max(math.Abs(lo-1), math.Abs(hi-1)) < s.noise/16 {
		return ""
	}
	what := "a factor of each token's own"
	if s.Of.Kind.RoundsOnce() {
		what = "the norm's eps, or the type it computes in"
	}
	return fmt.Sprintf("%s: every row is its reference times a factor, from %.5g to %.5g, and nothing but rounding is left", what, lo, hi)
}

// explains is the share of the error's energy that must be left unexplained at
// most: rounding of the output is in the error too.
const explains = 0.15

// offset is about one vector that is missing from, or added to, every row.
func (s *suspect) offset() string {
	if s.rows < 3 {
		return ""
	}
	m := make([]float64, s.cols)
	total := 0.0
	for i, a := range s.r {
		d := s.t[i] - a
		m[i%s.cols] += d / float64(s.rows)
		total += float64(d * d)
	}
	shared := float64(s.rows) * float64(length(m)*length(m))
	if total == 0 || 1-shared/total > explains {
		return ""
	}
	return fmt.Sprintf("a bias that is missing or added: every row is off by the same vector, which is %s of the error", report.Percent(shared/total))
}

// shifted is about an error that is one vector times a number of each row: what
// a mean that is subtracted, or not, leaves.
func (s *suspect) shifted() string {
	if s.rows < 4 || !s.Of.Kind.RoundsOnce() || s.Of.Kind == topology.Activation {
		return ""
	}
	d := make([]float64, len(s.r))
	total := 0.0
	for i := range d {
		d[i] = s.t[i] - s.r[i]
		total += float64(d[i] * d[i])
	}
	v := make([]float64, s.cols)
	copy(v, d[:s.cols])
	energy := 0.0
	for range 20 { // power iteration: the first singular vector
		n := length(v)
		if n == 0 {
			return ""
		}
		next := make([]float64, s.cols)
		energy = 0
		for row := range s.rows {
			x := d[row*s.cols : (row+1)*s.cols]
			dot := 0.0
			for i := range x {
				dot += float64(x[i] * v[i] / n)
			}
			energy += float64(dot * dot)
			for i := range x {
				next[i] += float64(dot * x[i])
			}
		}
		v = next
	}
	if total == 0 || 1-energy/total > explains {
		return ""
	}
	return fmt.Sprintf("another kind of norm (LayerNorm subtracts the mean, RMSNorm does not): the error is one vector times a number of each token's own, which is %s of it", report.Percent(energy/total))
}

// activation tries the functions that are taken for one another, on the
// target's own input.
func (s *suspect) activation() string {
	in := s.input("0")
	if s.Of.Kind != topology.Activation || len(in) != 2*len(s.t) {
		return ""
	}
	silu := func(x float64) float64 { return x / (1 + math.Exp(-x)) }
	gelu := func(x float64) float64 { return 0.5 * x * (1 + math.Erf(x/math.Sqrt2)) }
	tanh := func(x float64) float64 {
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	}
	relu := func(x float64) float64 { return max(x, 0) }
	best, name := math.Inf(1), ""
	for _, f := range []struct {
		name    string
		f       func(float64) float64
		swapped bool
	}{
		{"gelu", gelu, false},
		{"gelu (its tanh form)", tanh, false},
		{"silu", silu, false},
		{"relu", relu, false},
		{"silu of the other half (gate and up are swapped)", silu, true},
		{"gelu of the other half (gate and up are swapped)", gelu, true},
	} {
		made := make([]float64, len(s.t))
		for i := range made {
			row, c := i/s.cols, i%s.cols
			gate, up := in[2*row*s.cols+c], in[(2*row+1)*s.cols+c]
			if f.swapped {
				gate, up = up, gate
			}
			made[i] = f.f(gate) * up
		}
		if e := relative(made, s.t); e <= s.noise && e < best && relative(made, s.r) > s.noise {
			best, name = e, f.name
		}
	}
	if name == "" {
		return ""
	}
	return fmt.Sprintf("another activation function: the target's output is %s of its own input (rel_l2 %s), the reference is not", name, report.Num(best))
}

// coarse is about values on the grid of a type of fewer bits.
func (s *suspect) coarse() string {
	d := s.pair.Result.DTypes[1]
	if d.Size() < 2 {
		return ""
	}
	bits := func(v []float64) int { // of the mantissa, that any value uses
		n := 0
		for _, x := range v {
			if b := math.Float64bits(x) & (1<<52 - 1); b != 0 && x-x == 0 {
				for n < 52 && b&(1<<(52-n)-1) != 0 {
					n++
				}
			}
		}
		return n
	}
	t, r := bits(s.t), bits(s.r)
	if len(s.t) < 64 || t > 4 || t >= r {
		return ""
	}
	types := map[int]string{0: "a power of two each", 1: "as float4_e2m1fn", 2: "as " + tensor.Float8E5M2.String(), 3: "as " + tensor.Float8E4M3FN.String(), 4: "as a quantized type"}
	return fmt.Sprintf("quantized values: the target's have %d bits after the first, %s, and the reference's %d", t, types[t], r)
}

// logits is about the output head alone.
func (s *suspect) logits() string {
	if !pairing.IsLogitsOutput(s.pair.Key) {
		return ""
	}
	return "the output head (stale, or tied to other weights): the hidden states agree, only the logits do not"
}

// uniform is about an error that is spread evenly.
func (s *suspect) uniform() string {
	if s.rows < 4 || s.cols < 4 {
		return ""
	}
	least, most := math.Inf(1), 0.0
	for _, e := range s.row {
		least, most = min(least, e), max(most, e)
	}
	k, _ := fit(s.r, s.t)
	if most > 4*least || math.Abs(k-1) > most/2 || most > 0.5 {
		return ""
	}
	return fmt.Sprintf("a quantized weight or a broken kernel: noise of %s to %s in every row, with no scale (%.4g) and no place of its own", report.Percent(least), report.Percent(most), k)
}
