package judge

import (
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
)

// judgeLogprobs sums up the tokens that were run and holds the figures to the
// policy's bounds, which nothing excuses: where no module is at fault, the logits
// of the worst token are the first divergence.
func judgeLogprobs(r *report.Report, m *Input) {
	var all []*report.LogitsTokens
	some := false
	var logits []*pairing.Pair
	of := map[*pairing.Pair]*pairing.Call{}
	for _, f := range m.Forwards {
		for _, c := range f.Calls {
			for _, p := range c.Slots {
				if !pairing.IsLogitsOutput(p.Key) {
					continue
				}
				some = true
				if p.Logprobs != nil && p.Result != nil {
					all, logits, of[p] = append(all, p.Logprobs), append(logits, p), c
				} else {
					all = append(all, &report.LogitsTokens{Why: whyNone(p)})
				}
			}
		}
	}
	if !some {
		if m.Logprobs == nil {
			return
		}
		all = append(all, &report.LogitsTokens{Why: "neither session recorded logits, or none are among the compared modules: those of step n lie in step n+1, so log that too"})
	}
	r.Logprobs = report.NewLogprobs(all, m.Clip)
	r.Logprobs.Bounds = m.Logprobs
	if r.Logprobs.Broken = r.Logprobs.Check(); len(r.Logprobs.Broken) == 0 {
		return
	}
	p := holding(logits, r.Logprobs.Worst)
	diverge(r, p.Key, of[p].Layer, r.Logprobs.WhyBroken())
}

// holding is the tensor of logits that gave a token, the first that gave any for
// none.
func holding(logits []*pairing.Pair, t *report.TokenLogprob) *pairing.Pair {
	first := -1
	for i, p := range logits {
		if len(p.Logprobs.Tokens) == 0 {
			continue
		}
		if first < 0 {
			first = i
		}
		if t != nil && p.Step == t.Step {
			return p
		}
	}
	return logits[first]
}

// whyNone says why logits tell nothing of the tokens.
func whyNone(p *pairing.Pair) string {
	if p.Status == pairing.Excluded {
		return "the policy leaves the logits out"
	}
	if why := notComparedReason(p); why != "" {
		return "the logits: " + why
	}
	return "the logits were not compared"
}
