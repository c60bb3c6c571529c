package ref

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// Sampling says how a token is chosen. The zero value is greedy decoding.
type Sampling struct {
	Temperature float64 // 0 = greedy
	TopK        int     // keep the K most likely tokens; 0 = all
	TopP        float64 // keep the most likely tokens until they hold this probability; 0 or 1 = all
	Seed        uint64
}

// Logprob is the natural logarithm of a token's probability.
type Logprob struct {
	Token   int
	Logprob float64
}

// argmax returns the index of the largest logit, the lowest of equal ones, and
// a NaN before any number, as torch.argmax does.
func argmax(logits []float64) int {
	best := 0
	for j, x := range logits {
		if x != x {
			return j
		}
		if x > logits[best] {
			best = j
		}
	}
	return best
}

// rowsOfLogits decodes logits (N, V).
func rowsOfLogits(logits *tensor.Tensor) [][]float64 {
	n, v := logits.Shape[0], logits.Shape[1]
	out := make([][]float64, n)
	for i := range out {
		out[i] = make([]float64, v)
		_ = logits.Float64s(out[i], i*v) // a float type always has values
	}
	return out
}

// choose draws a token: temperature first, then top-k, then top-p, as vLLM's
// sampler does.
func (s Sampling) choose(logits []float64, rng *rand.Rand) int {
	best := argmax(logits)
	if s.Temperature == 0 || logits[best] != logits[best] {
		return best
	}
	type candidate struct {
		token int
		p     float64
	}
	all := make([]candidate, len(logits))
	for i, x := range logits {
		all[i] = candidate{i, kernel.Exp((x - logits[best]) / s.Temperature)}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.p, a.p) })
	if s.TopK > 0 && s.TopK < len(all) {
		all = all[:s.TopK]
	}
	total := 0.0
	for _, c := range all {
		total += c.p
	}
	if s.TopP > 0 && s.TopP < 1 {
		kept := 0.0
		for i, c := range all {
			if kept += c.p; kept >= float64(s.TopP*total) {
				all, total = all[:i+1], kept
				break
			}
		}
	}
	u := float64(rng.Float64() * total)
	for _, c := range all {
		if u -= c.p; u < 0 {
			return c.token
		}
	}
	return all[len(all)-1].token
}

// logprobs returns the log-softmax of the token and of the n most likely ones,
// the token first.
func logprobs(logits []float64, token, n int) []Logprob {
	top := logits[argmax(logits)]
	sum := 0.0
	order := make([]int, len(logits))
	for i, x := range logits {
		sum += kernel.Exp(x - top)
		order[i] = i
	}
	norm := top + kernel.Log(sum)
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(logits[b], logits[a]) })
	out := []Logprob{{token, logits[token] - norm}}
	for _, t := range order[:min(n, len(order))] {
		out = append(out, Logprob{t, logits[t] - norm})
	}
	return out
}
