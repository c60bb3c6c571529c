package faults

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/topology"
)

// gains are the most that a kind of module made of the gap of its inputs where
// there is no fault, beyond the noise of its own.
type gains map[string]float64

// measured is what compare/noise.go rests on, between a lower end that shows
// that the differences reach it and the most that is seen.
var measured = map[string][2]float64{
	"attn":       {2.5, 3.3},
	"act_fn":     {1.5, 1.8},
	"logits":     {0.9, 1.2},
	"projection": {0.9, 1.25},
	"rope":       {0.7, 1.1},
	"norm":       {0.7, 1.1},
}

// measure takes the gains of one comparison.
func (s *scores) measure(r *report.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gains == nil {
		s.gains = gains{}
	}
	stored := map[string]float64{} // by attention: the worst keys and values so far
	for _, m := range r.Modules {
		kind := kindOf(m.Module)
		if kind == "" || m.Inputs == nil || m.Outputs == nil {
			continue
		}
		in, out := m.Inputs.Gap.RelL2, m.Outputs.Gap.RelL2
		if kind == "attn" {
			in = max(in, stored[m.Module])
			stored[m.Module] = in
		}
		_, noise := rounding.Explained(topology.Of(m.Module).Kind, append(m.Inputs.DTypes[:], m.Outputs.DTypes[:]...), false, in)
		if in > 0 && out > noise {
			s.gains[kind] = max(s.gains[kind], math.Sqrt(out*out-noise*noise)/in)
		}
	}
}

func kindOf(module string) string {
	switch last := module[strings.LastIndexByte(module, '.')+1:]; {
	case last == "attn", last == "act_fn":
		return last
	case last == topology.LogitsProcessorName:
		return "logits"
	case last == "rotary_emb":
		return "rope"
	case strings.HasSuffix(last, "_proj"):
		return "projection"
	case strings.HasSuffix(last, "norm"):
		return "norm"
	}
	return ""
}

func (g gains) check(t *testing.T) {
	for kind, want := range measured {
		t.Logf("gain of %s: %.3g", kind, g[kind])
		require.GreaterOrEqual(t, g[kind], want[0], kind)
		require.LessOrEqual(t, g[kind], want[1], kind)
	}
}
