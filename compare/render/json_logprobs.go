package render

import (
	"github.com/ilref/ilref/compare/report"
)

type jsonLogprobFigures struct {
	Tokens     int           `json:"tokens"`
	Infinite   int           `json:"infinite"`
	Mean       number        `json:"mean_log_ratio"`
	MeanAbs    number        `json:"mean_abs_log_ratio"`
	MaxAbs     number        `json:"max_abs_log_ratio"`
	K3         number        `json:"k3"`
	KL         number        `json:"kl_reference_target"`
	KLBack     number        `json:"kl_target_reference"`
	MaxKL      number        `json:"max_kl_reference_target"`
	MaxKLBack  number        `json:"max_kl_target_reference"`
	MeanExpAbs number        `json:"mean_exp_abs_log_ratio"`
	ESS        number        `json:"ess"`
	Clipped    number        `json:"clipped"`
	MaxProb    number        `json:"max_prob_diff"`
	MeanProb   number        `json:"mean_prob_diff"`
	Worst      *jsonRunToken `json:"worst"`
}

type jsonLogprobs struct {
	jsonLogprobFigures
	Clip      number                `json:"clip"`
	NoNext    int                   `json:"no_next"`
	OtherNext int                   `json:"other_next"`
	Undefined int                   `json:"undefined"`
	Why       *string               `json:"why"`
	Broken    []string              `json:"broken"`
	Requests  []jsonRequestLogprobs `json:"requests"`
	RunTokens []*jsonRunToken       `json:"run_tokens"`
}

type jsonRequestLogprobs struct {
	Request int `json:"request"`
	jsonLogprobFigures
}

type jsonRunToken struct {
	Request  int          `json:"request"`
	Position int          `json:"position"`
	ID       int          `json:"token_id"`
	Text     string       `json:"text,omitempty"`
	Step     int          `json:"step"`
	Ref      number       `json:"logprob_reference"`
	Target   number       `json:"logprob_target"`
	LogRatio number       `json:"log_ratio"`
	KL       number       `json:"kl_reference_target"`
	KLBack   number       `json:"kl_target_reference"`
	Parts    *jsonParting `json:"parts"`
}

type jsonParting struct {
	jsonKey
	Layer  int    `json:"layer"`
	RelL2  number `json:"rel_l2"`
	Limit  number `json:"limit"`
	Within bool   `json:"within"`
}

func jsonLogprobsOf(l *report.Logprobs) *jsonLogprobs {
	if l == nil {
		return nil
	}
	out := &jsonLogprobs{
		jsonLogprobFigures: jsonFiguresOf(&l.LogprobFigures), Clip: number(l.Clip),
		NoNext: l.NoNext, OtherNext: l.OtherNext, Undefined: l.Undefined, Why: orNull(l.Why), Broken: notNil(l.Broken),
		Requests: []jsonRequestLogprobs{}, RunTokens: []*jsonRunToken{},
	}
	for i := range l.Requests {
		q := &l.Requests[i]
		out.Requests = append(out.Requests, jsonRequestLogprobs{q.Request, jsonFiguresOf(&q.LogprobFigures)})
	}
	for i := range l.Tokens {
		out.RunTokens = append(out.RunTokens, jsonRunTokenOf(&l.Tokens[i]))
	}
	return out
}

func jsonFiguresOf(f *report.LogprobFigures) jsonLogprobFigures {
	return jsonLogprobFigures{
		f.Tokens, f.Infinite, number(f.Mean), number(f.MeanAbs), number(f.MaxAbs), number(f.K3),
		number(f.KL[0]), number(f.KL[1]), number(f.MaxKL[0]), number(f.MaxKL[1]), number(f.MeanExpAbs), number(f.ESS), number(f.Clipped),
		number(f.MaxProbDiff), number(f.MeanProbDiff), jsonRunTokenOf(f.Worst),
	}
}

func jsonRunTokenOf(t *report.TokenLogprob) *jsonRunToken {
	if t == nil {
		return nil
	}
	out := &jsonRunToken{
		Request: t.Request, Position: t.Position, ID: t.ID, Text: t.Text, Step: t.Step,
		Ref: number(t.Log[0]), Target: number(t.Log[1]), LogRatio: number(t.LogRatio()), KL: number(t.KL[0]), KLBack: number(t.KL[1]),
	}
	if p := t.Parts; p != nil {
		out.Parts = &jsonParting{jsonKeyOf(p.Key), p.Layer, number(p.RelL2), number(p.Limit), p.Within}
	}
	return out
}
