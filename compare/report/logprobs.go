package report

import (
	"fmt"
	"math"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/kernel"
)

// DefaultClip is the ε of the clip range [1-ε, 1+ε] that most trainers begin with
// (PPO, arXiv 1707.06347).
const DefaultClip = 0.2

// TokenLogprob is the log probability that both sides gave a token that they ran,
// by the row of logits before it.
type TokenLogprob struct {
	Request  int    `json:"request"`
	Position int    `json:"position"` // of the token, one behind the row's
	ID       int    `json:"id"`
	Text     string `json:"text,omitzero"` // "" without a tokenizer
	Step     int    `json:"step"`          // of the directory with the logits
	metric.Logprob
	Logit float64  `json:"logit"` // the largest |x| of the token's two logits
	Parts *Parting `json:"parts,omitzero"`
}

// LogRatio is log p of the target less log p of the reference. It is infinite
// where one side gives the token no probability.
func (t *TokenLogprob) LogRatio() float64 { return t.Log[1] - t.Log[0] }

// Weight is p of the reference by p of the target: the importance weight of a
// token that the target has sampled and the reference is trained on.
func (t *TokenLogprob) Weight() float64 { return kernel.Exp(t.Log[0] - t.Log[1]) }

// String is "request 0, position 7, token 42 "the"".
func (t *TokenLogprob) String() string {
	x := Token{Request: t.Request, Position: t.Position, ID: &t.ID, Text: t.Text}
	return x.String()
}

// Parting is where the row of a token first parts in its forward.
type Parting struct {
	Key    Key     `json:"key"`
	Layer  int     `json:"layer"`  // -1 outside layers
	RelL2  float64 `json:"rel_l2"` // of the row
	Limit  float64 `json:"limit"`  // what rounding and the row of its inputs explain
	Within bool    `json:"within"` // no row of the forward is beyond that: this is the first that differs to the bit
}

// String says where the row first parts, and whether rounding explains it.
func (p *Parting) String() string {
	at := fmt.Sprintf("step %d, %s, %s", p.Key.Step, il.CallName(p.Key.Module, p.Key.Call), SlotName(p.Key))
	if p.Within {
		return fmt.Sprintf("its row is within rounding everywhere, and first different in %s (rel_l2 %s)", at, Num(p.RelL2))
	}
	return fmt.Sprintf("its row first parts in %s (rel_l2 %s, where rounding and its inputs explain %s)", at, Num(p.RelL2), Num(p.Limit))
}

// LogitsTokens is what one tensor of logits tells of the tokens that were run.
type LogitsTokens struct {
	Tokens    []TokenLogprob `json:"tokens"`
	NoNext    int            `json:"no_next"`    // rows whose next token neither side tells
	OtherNext int            `json:"other_next"` // rows behind which the sides ran other tokens
	Undefined int            `json:"undefined"`  // rows of NaN or +Inf, or whose token neither side can give
	Why       string         `json:"why,omitzero"`
}

// LogprobFigures sums up tokens, in nats. log ratio is log p(target) - log
// p(reference), w = p(reference)/p(target), n the number of tokens.
type LogprobFigures struct {
	Tokens       int
	Infinite     int           // tokens that one side alone gives no probability
	Mean         float64       // of the log ratio: the estimator k1 of KL(target ‖ reference) where the target has sampled
	MeanAbs      float64       // of |log ratio|
	MaxAbs       float64       // |log ratio| of Worst
	K3           float64       // mean of w - 1 - log w: the estimator k3 of the same
	KL, MaxKL    [2]float64    // mean and largest KL(reference ‖ target), KL(target ‖ reference) of the whole rows
	MeanExpAbs   float64       // of exp|log ratio|; 1 for equal sides
	ESS          float64       // effective sample size, (Σw)² / (n Σw²); 1 for equal sides
	Clipped      float64       // share of the tokens whose w lies outside [1-ε, 1+ε]
	MaxProbDiff  float64       // of |p(target) - p(reference)|
	MeanProbDiff float64       // the mean of it
	Worst        *TokenLogprob // the first with the largest |log ratio|; nil where all are equal
}

// RequestLogprobs are the figures of one request.
type RequestLogprobs struct {
	Request int
	LogprobFigures
}

// Logprobs is how far the two sides are apart in the probabilities of the tokens
// that they ran, wherever both recorded logits.
type Logprobs struct {
	LogprobFigures
	Requests  []RequestLogprobs // in ascending order
	Tokens    []TokenLogprob    // in execution order
	NoNext    int
	OtherNext int
	Undefined int

	Clip   float64        // ε of Clipped
	Bounds *LogprobBounds // of a policy; nil for none
	Broken []string       // those that the figures do not keep, a sentence each
	Why    string         // there are no tokens; "" where there are
}

// Missing reports bounds that nothing could be held to.
func (l *Logprobs) Missing() bool { return l != nil && l.Bounds != nil && len(l.Tokens) == 0 }

// NewLogprobs sums up what the tensors of logits tell, in execution order.
func NewLogprobs(all []*LogitsTokens, clip float64) *Logprobs {
	out := &Logprobs{Clip: clip}
	for _, x := range all {
		out.Tokens = append(out.Tokens, x.Tokens...)
		out.NoNext += x.NoNext
		out.OtherNext += x.OtherNext
		out.Undefined += x.Undefined
		if out.Why == "" {
			out.Why = x.Why
		}
	}
	if len(out.Tokens) > 0 {
		out.Why = ""
	}
	whole := newLogprobSums(clip)
	of := map[int]*logprobSums{}
	for i := range out.Tokens {
		t := &out.Tokens[i]
		if of[t.Request] == nil {
			of[t.Request] = newLogprobSums(clip)
		}
		whole.add(t)
		of[t.Request].add(t)
	}
	out.LogprobFigures = whole.figures()
	for _, q := range sortedKeys(of) {
		out.Requests = append(out.Requests, RequestLogprobs{q, of[q].figures()})
	}
	return out
}

// logprobSums adds tokens up.
type logprobSums struct {
	LogprobFigures
	clip              float64
	w, ww             float64
	clipped           int
	never, outweighed int // tokens of no probability in the reference, in the target
}

func newLogprobSums(clip float64) *logprobSums { return &logprobSums{clip: clip} }

func (s *logprobSums) add(t *TokenLogprob) {
	d, w := t.LogRatio(), t.Weight()
	s.Tokens++
	s.Mean += d
	s.MeanAbs += math.Abs(d)
	s.MeanExpAbs += kernel.Exp(math.Abs(d))
	s.w += w
	s.ww += float64(w * w)
	switch {
	case math.IsInf(d, 1):
		s.never++
	case math.IsInf(d, -1):
		s.outweighed++
	default:
		s.K3 += max(0, w-1+d)
	}
	if !(w >= 1-s.clip && w <= 1+s.clip) {
		s.clipped++
	}
	p := math.Abs(kernel.Exp(t.Log[1]) - kernel.Exp(t.Log[0]))
	s.MeanProbDiff += p
	s.MaxProbDiff = max(s.MaxProbDiff, p)
	for i, kl := range t.KL {
		s.KL[i] += kl
		s.MaxKL[i] = max(s.MaxKL[i], kl)
	}
	if math.Abs(d) > s.MaxAbs {
		s.MaxAbs, s.Worst = math.Abs(d), t
	}
}

func (s *logprobSums) figures() LogprobFigures {
	f, n := s.LogprobFigures, float64(s.Tokens)
	if s.Tokens == 0 {
		return f
	}
	for _, v := range []*float64{&f.Mean, &f.MeanAbs, &f.MeanExpAbs, &f.K3, &f.KL[0], &f.KL[1], &f.MeanProbDiff} {
		*v /= n
	}
	f.Clipped = float64(s.clipped) / n
	f.ESS = s.w * s.w / (n * s.ww)
	f.Infinite = s.never + s.outweighed
	switch {
	case s.outweighed > 0: // weights beyond all others, which are left as the sample
		f.ESS = float64(s.outweighed) / n
	case s.w == 0: // no token has any weight
		f.ESS = 0
	case math.IsInf(s.ww, 1): // squares beyond float64: one weight outweighs all
		f.ESS = 1 / n
	}
	if f.Infinite > 0 {
		f.K3 = math.Inf(1)
	}
	if s.never > 0 && s.outweighed > 0 { // infinite to both sides
		f.Mean = math.Inf(1)
	}
	return f
}
