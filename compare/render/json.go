package render

import (
	"encoding/json"
	"io"
	"math"

	"github.com/ilref/ilref/compare/report"
)

// number is null in JSON where it is not finite.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

type jsonReport struct {
	Schema          string          `json:"schema"`
	Verdict         report.Verdict  `json:"verdict"`
	Rule            report.Rule     `json:"rule"`
	Reference       jsonSide        `json:"reference"`
	Target          jsonSide        `json:"target"`
	Coverage        jsonCoverage    `json:"coverage"`
	FirstDivergence *jsonDivergence `json:"first_divergence"`
	OtherWorkload   []jsonWorkload  `json:"other_workload"`
	Warnings        []string        `json:"warnings"`
	Modules         []jsonModule    `json:"modules"`
	Tensors         []jsonTensor    `json:"tensors"`
	Logprobs        *jsonLogprobs   `json:"logprobs"`
	Fallback        []string        `json:"fallback"` // calls that the rule's evidence lacks

	Setup []report.SetupDifference `json:"setup,omitempty"` // in what the sessions say that they were made otherwise
}

type jsonSide struct {
	Dir     string   `json:"dir"`
	Variant string   `json:"variant"`
	Steps   []int    `json:"steps"`
	DTypes  []string `json:"dtypes"`
}

type jsonCoverage struct {
	Compared           int           `json:"compared"`
	MissingInReference int           `json:"missing_in_reference"`
	MissingInTarget    int           `json:"missing_in_target"`
	Skipped            int           `json:"skipped"`
	Unreadable         int           `json:"unreadable"`
	OtherWorkload      int           `json:"other_workload"`      // of the skipped
	UnmatchedByNature  int           `json:"unmatched_by_nature"` // rows: padding, logits of unfinished chunks
	NoPartner          int           `json:"no_partner"`          // tensors of one naming scheme alone
	Excluded           int           `json:"excluded,omitempty"`  // tensors that the policy skips
	Keywords           int           `json:"keywords,omitempty"`  // arguments by keyword of one side alone
	Percent            number        `json:"percent"`
	MinPercent         number        `json:"min_percent"`
	Missing            []string      `json:"missing"`
	SkippedTensors     []jsonProblem `json:"skipped_tensors"`
	UnreadableTensors  []jsonProblem `json:"unreadable_tensors"`
	ExcludedTensors    []jsonProblem `json:"excluded_tensors,omitempty"`
	KeywordTensors     []jsonProblem `json:"keyword_tensors,omitempty"`
}

type jsonProblem struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

type jsonKey struct {
	Step      int    `json:"step"`
	Module    string `json:"module"`
	Call      int    `json:"call"`
	Direction string `json:"direction"`
	Slot      string `json:"slot"`
}

type jsonDivergence struct {
	jsonKey
	Why  string  `json:"why"`
	Hint *string `json:"hint"` // the likely cause, a guess; null for none
}

type jsonWorkload struct {
	Step int    `json:"step"`
	Why  string `json:"why"`
}

type jsonModule struct {
	Step     int            `json:"step"`
	Module   string         `json:"module"`
	Call     int            `json:"call"`
	Inputs   *jsonWorst     `json:"inputs"`
	Outputs  *jsonWorst     `json:"outputs"`
	Tensors  int            `json:"tensors"` // on either side
	Compared int            `json:"compared"`
	Verdict  report.Verdict `json:"verdict"`
	Why      string         `json:"why,omitempty"`
	Hint     *string        `json:"hint"`

	// rel_l2 of the worst input and output, and of the worst output to the
	// replay; all null without one.
	Inherited   number `json:"inherited"`
	Local       number `json:"local"`
	Noise       number `json:"noise"`
	Accumulated number `json:"accumulated"`
	Ratio       number `json:"ratio"` // of the worst output; null without a floor
	RatioToken  number `json:"ratio_token"`
}

// jsonWorst is the worst tensor of a direction.
type jsonWorst struct {
	Direction string `json:"direction"`
	Slot      string `json:"slot"`
	jsonGap
}

type jsonGap struct {
	MaxAbs     number `json:"max_abs"`
	MaxAbsAt   []int  `json:"max_abs_at"`
	Cosine     number `json:"cosine"`
	OneMinus   number `json:"one_minus_cosine"`
	RelL2      number `json:"rel_l2"`
	NormRatio  number `json:"norm_ratio"`
	Mismatched number `json:"mismatched"` // share of the values
}

type jsonTensor struct {
	jsonKey
	DTypes [2]string `json:"dtypes"` // of the reference, of the target
	Shape  []int     `json:"shape"`
	Numel  int       `json:"numel"`
	Rank   string    `json:"rank,omitempty"`
	jsonGap
	MaxAbsValues *[2]number     `json:"max_abs_values"` // the two values at max_abs_at
	Equal        int            `json:"equal"`          // values that are equal
	NaN          [2]int         `json:"nan"`            // in the reference, in the target
	Inf          [2]int         `json:"inf"`
	Verdict      report.Verdict `json:"verdict"`
	jsonMore
}

// JSON writes the report as one indented JSON object. Equal reports give
// equal bytes.
func JSON(w io.Writer, r *report.Report) error {
	out := jsonReport{
		Schema: report.Schema, Verdict: r.Verdict, Rule: r.Rule,
		Reference: jsonSideOf(r.Reference), Target: jsonSideOf(r.Target), Coverage: jsonCoverageOf(r),
		OtherWorkload: []jsonWorkload{}, Warnings: notNil(r.Warnings), Fallback: notNil(r.Fallback), Modules: []jsonModule{}, Tensors: []jsonTensor{},
		Setup:    r.Setup,
		Logprobs: jsonLogprobsOf(r.Logprobs),
	}
	if d := r.FirstDivergence; d != nil {
		out.FirstDivergence = &jsonDivergence{jsonKeyOf(d.Key), d.Why, orNull(d.Hint)}
	}
	for _, x := range r.Workloads {
		out.OtherWorkload = append(out.OtherWorkload, jsonWorkload{x.Forward, x.Why})
	}
	for _, m := range r.Modules {
		out.Modules = append(out.Modules, jsonModuleOf(m))
	}
	for _, t := range r.Tensors {
		out.Tensors = append(out.Tensors, jsonTensorOf(t))
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(out)
}

func jsonSideOf(s report.Side) jsonSide {
	return jsonSide{s.Dir, s.Variant, notNil(s.Steps), notNil(s.DTypes)}
}

func jsonCoverageOf(r *report.Report) jsonCoverage {
	c := r.Coverage
	out := jsonCoverage{
		Compared: c.Compared, MissingInReference: len(c.MissingInReference), MissingInTarget: len(c.MissingInTarget),
		Skipped: len(c.Skipped), Unreadable: len(c.Unreadable), OtherWorkload: c.OtherWorkload,
		UnmatchedByNature: c.UnmatchedByNature, NoPartner: c.NoPartner,
		Percent: number(c.Percent()), MinPercent: number(r.MinCoverage),
		Missing: []string{}, SkippedTensors: jsonProblems(c.Skipped), UnreadableTensors: jsonProblems(c.Unreadable),
		Excluded: len(c.Excluded), ExcludedTensors: jsonProblems(c.Excluded),
		Keywords: len(c.Keywords), KeywordTensors: jsonProblems(c.Keywords),
	}
	for _, keys := range [][]report.Key{c.MissingInReference, c.MissingInTarget} {
		for _, k := range keys {
			out.Missing = append(out.Missing, k.String())
		}
	}
	return out
}

func jsonProblems(ps []report.Problem) []jsonProblem {
	out := []jsonProblem{}
	for _, p := range ps {
		out = append(out, jsonProblem{p.Key.String(), p.Why})
	}
	return out
}

func jsonKeyOf(k report.Key) jsonKey { return jsonKey(k) }

// jsonGapOf has no relative figures of integers that differ.
func jsonGapOf(t *report.TensorDiff) jsonGap {
	g := t.Gap
	if report.IsInteger(t) && !g.Identical() {
		none := number(math.NaN())
		return jsonGap{number(g.MaxAbs), g.MaxAbsAt, none, none, none, none, number(report.MismatchedShare(g))}
	}
	return jsonGap{
		number(g.MaxAbs), g.MaxAbsAt, number(g.Cosine()), number(g.OneMinus), number(g.RelL2), number(g.NormRatio),
		number(report.MismatchedShare(g)),
	}
}

func jsonWorstOf(t *report.TensorDiff) *jsonWorst {
	if t == nil {
		return nil
	}
	return &jsonWorst{t.Direction, t.Slot, jsonGapOf(t)}
}

func jsonTensorOf(t *report.TensorDiff) jsonTensor {
	out := jsonTensor{
		jsonKey: jsonKeyOf(t.Key), DTypes: [2]string{t.DTypes[0].String(), t.DTypes[1].String()},
		Shape: notNil(t.Shape), Numel: t.Gap.Numel, Rank: t.Rank, jsonGap: jsonGapOf(t),
		Equal: t.Gap.Equal, NaN: t.Gap.NaN, Inf: t.Gap.Inf, Verdict: t.Verdict,
	}
	if t.Gap.MaxAbsAt != nil {
		out.MaxAbsValues = &[2]number{number(t.Gap.Reference), number(t.Gap.Target)}
	}
	out.jsonMore = jsonMoreOf(t)
	return out
}

// notNil makes an empty list of none, so that JSON has [] and not null.
func notNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
