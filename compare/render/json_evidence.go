package render

import (
	"math"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/report"
)

// jsonMore is what a tensor tells beyond the gap itself; null where it has no
// meaning.
type jsonMore struct {
	MeanAbs       number      `json:"mean_abs"`
	RMSE          number      `json:"rmse"`
	MaxRel        number      `json:"max_rel"`
	WorstToken    *jsonPlace  `json:"worst_token"`
	WorstChannel  *jsonPlace  `json:"worst_channel"`
	Scale         number      `json:"scale"`
	ScaleStdErr   number      `json:"scale_stderr"`
	ULPP99        number      `json:"ulp_p99"`
	ULPMax        number      `json:"ulp_max"`
	ULPHistogram  []int       `json:"ulp_histogram"` // below 1, [1,2), [2,4), …
	NonFinite     int         `json:"non_finite"`    // places where NaN or an infinity meets something else
	ArgmaxAgree   number      `json:"argmax_agree"`  // share of the rows of logits
	ArgmaxNearTie *int        `json:"argmax_near_ties"`
	KL            number      `json:"kl"`     // mean of the rows, in nats
	KLMax         number      `json:"kl_max"` // of a row
	Margin        *jsonMargin `json:"margin"`
	Local         *jsonLocal  `json:"local"`
	Noise         *jsonNoise  `json:"noise"`
	Ratio         number      `json:"ratio"`
	RatioToken    number      `json:"ratio_token"`
	RatioChannel  number      `json:"ratio_channel"`
	FloorScale    *jsonScale  `json:"floor_scale"` // best-fit scale to the emulation

	Routing *report.Routing `json:"routing,omitempty"`  // of a router's scores
	LeftOut int             `json:"left_out,omitempty"` // rows of tokens that went to other experts, which the figures are without
}

// jsonPlace is a row or a column; of a row the request, the position and the
// token where the session tells them.
type jsonPlace struct {
	Index    int    `json:"index"`
	RelL2    number `json:"rel_l2"`
	Request  *int   `json:"request,omitempty"`
	Position *int   `json:"position,omitempty"`
	TokenID  *int   `json:"token_id,omitempty"`
	Text     string `json:"text,omitempty"`
}

// jsonMargin is the reference's smallest lead of its first choice, and the
// noise of that row.
type jsonMargin struct {
	Top2  number `json:"top1_top2"`
	Noise number `json:"noise"`
}

// jsonLocal is the gap to the replay.
type jsonLocal struct {
	RelL2    number `json:"rel_l2"`
	OneMinus number `json:"one_minus_cosine"`
	MaxAbs   number `json:"max_abs"`
	Equal    int    `json:"equal"`
}

// jsonNoise is how many times what rounding explains the gap to the replay is.
type jsonNoise struct {
	RMS   number    `json:"rms"` // over the tensor; rounding gives 1
	Max   number    `json:"max"` // of one value
	MaxAt []int     `json:"max_at"`
	Worst jsonBlock `json:"worst"`
	Drift jsonDrift `json:"drift"`
}

// jsonDrift is how far the tensor is too large or too small on the whole.
type jsonDrift struct {
	Mean number `json:"mean"`
	Sum  number `json:"sum"`
	Rows number `json:"rows"`
}

// jsonBlock is the place that is the least likely by chance.
type jsonBlock struct {
	Row      int    `json:"row"`
	Rows     int    `json:"rows"`
	Column   int    `json:"column"`
	Columns  int    `json:"columns"`
	RMS      number `json:"rms"`
	Unlikely number `json:"unlikely"` // -ln of the probability, at most
}

type jsonScale struct {
	MinusOne number `json:"minus_one"`
	StdErr   number `json:"stderr"`
}

func jsonMoreOf(t *report.TensorDiff) jsonMore {
	g, none := t.Gap, number(math.NaN())
	out := jsonMore{
		MeanAbs: number(g.MeanAbs), RMSE: number(g.RMSE), MaxRel: number(g.MaxRel), NonFinite: g.NonFinite,
		WorstToken: jsonPlaceOf(g.WorstToken), WorstChannel: jsonPlaceOf(g.WorstChannel),
		Scale: none, ScaleStdErr: none, ULPP99: none, ULPMax: none, ArgmaxAgree: none, KL: none, KLMax: none,
		Ratio: none, RatioToken: none, RatioChannel: none,
		Routing: t.Routing, LeftOut: t.LeftOut,
	}
	if w := t.Token; w != nil && out.WorstToken != nil {
		out.WorstToken.Request, out.WorstToken.Position, out.WorstToken.TokenID, out.WorstToken.Text = &w.Request, &w.Position, w.ID, w.Text
	}
	if s := g.Scale; s != nil {
		out.Scale, out.ScaleStdErr = number(1+s.MinusOne), number(s.StdErr)
	}
	if u := g.ULP; u != nil {
		out.ULPP99, out.ULPMax, out.ULPHistogram = number(u.P99), number(u.Max), u.Histogram
	}
	if l := t.Logits; l != nil {
		out.ArgmaxAgree, out.ArgmaxNearTie = number(float64(l.Agree)/float64(l.Rows)), &l.NearTies
		out.KL, out.KLMax, out.Margin = number(l.KL), number(l.MaxKL), &jsonMargin{number(l.Margin), number(l.Noise)}
	}
	if l := t.ReplayGap; l != nil {
		out.Local = &jsonLocal{number(l.RelL2), number(l.OneMinus), number(l.MaxAbs), l.Equal}
	}
	if n := t.Noise; n != nil {
		b := n.Worst
		out.Noise = &jsonNoise{number(n.RMS), number(n.Max), n.MaxAt, jsonBlock{b.Row, b.Rows, b.Column, b.Columns, number(b.RMS), number(b.Unlikely)}, jsonDrift{number(n.Drift.Mean), number(n.Drift.Sum), number(n.Drift.Rows)}}
	}
	if f := t.NoiseRatio; f != nil {
		out.Ratio, out.RatioToken, out.RatioChannel = number(f.Ratio), number(f.Token), number(f.Channel)
		if f.Scale != nil {
			out.FloorScale = &jsonScale{number(f.Scale.MinusOne), number(f.Scale.StdErr)}
		}
	}
	return out
}

func jsonPlaceOf(w *metric.Worst) *jsonPlace {
	if w == nil {
		return nil
	}
	return &jsonPlace{Index: w.Index, RelL2: number(w.RelL2)}
}

func jsonModuleOf(m *report.CallDiff) jsonModule {
	none := number(math.NaN())
	out := jsonModule{
		Step: m.Step, Module: m.Module, Call: m.Call, Inputs: jsonWorstOf(m.Inputs), Outputs: jsonWorstOf(m.Outputs),
		Tensors: m.Tensors, Compared: m.Compared, Verdict: m.Verdict, Why: m.Why, Hint: orNull(m.Hint),
		Inherited: none, Local: number(m.Local), Noise: number(m.Noise), Accumulated: none, Ratio: number(m.Ratio), RatioToken: number(m.RatioToken),
	}
	if !math.IsNaN(m.Local) {
		out.Accumulated = number(m.Outputs.Gap.RelL2)
		if m.Inputs != nil {
			out.Inherited = jsonGapOf(m.Inputs).RelL2
		}
	}
	return out
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
