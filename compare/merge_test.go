package compare

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/partial"
	"github.com/ilref/ilref/compare/render"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/shard"
	"github.com/ilref/ilref/il"
)

// inParts compares two sessions in n parts, each by way of its JSON.
func inParts(t *testing.T, ref, target *il.Session, o Options, n int) []*partial.Report {
	t.Helper()
	var parts []*partial.Report
	for i := n; i > 0; i-- { // in any order
		p, err := MeasurePart(context.Background(), ref, target, o, shard.Part{Index: i, Count: n})
		require.NoError(t, err)
		var b bytes.Buffer
		require.NoError(t, partial.Write(&b, p))
		p, err = partial.Read(&b, "part")
		require.NoError(t, err)
		parts = append(parts, p)
	}
	return parts
}

// requireMerged holds the parts of a comparison, put together, against the
// whole's report.
func requireMerged(t *testing.T, whole *report.Report, ref, target *il.Session, o Options, n int) {
	t.Helper()
	merged, err := Merge(inParts(t, ref, target, o, n))
	require.NoError(t, err)
	require.Equal(t, written(t, whole), written(t, merged))
}

// written is a report in full, byte for byte.
func written(t *testing.T, r *report.Report) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, render.JSON(&b, r))
	require.NoError(t, render.Text(&b, r, render.TextOptions{}))
	require.NoError(t, render.Text(&b, r, render.TextOptions{All: true}))
	return b.String()
}

// Every figure of a tensor is in its part, with all its bits.
func TestPartFigures(t *testing.T) {
	n := 0.5
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Float64:
			n += 1.0 / 3
			v.SetFloat(n)
		case reflect.Int:
			n++
			v.SetInt(int64(n))
		case reflect.String:
			n++
			v.SetString(fmt.Sprint("s", int(n)))
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem())
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			fill(v.Index(0))
			fill(v.Index(1))
		case reflect.Array:
			fill(v.Index(0))
			fill(v.Index(1))
		case reflect.Map:
			v.Set(reflect.MakeMap(v.Type()))
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(key)
			fill(value)
			v.SetMapIndex(key, value)
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					fill(v.Field(i))
				}
			}
		default:
			t.Fatalf("%s: a kind that the test does not know", v.Type())
		}
	}
	var p partial.Report
	fill(reflect.ValueOf(&p).Elem())
	p.Schema, p.Shard, p.Rule, p.File = partial.Schema, shard.Part{Index: 1, Count: 2}, report.RuleFloor, ""
	for _, b := range []*report.Bounds{&p.Bounds, &p.PolicyBounds[0], &p.PolicyBounds[1]} {
		cosine := 1.0 / 3
		b.MinCosine = &cosine
	}
	coverage := 100.0 / 3
	p.MinCoverage = &coverage
	for i := range p.Forwards {
		p.Forwards[i].Work = pairing.HistoryDiverged
	}
	for i := range p.Calls {
		c := &p.Calls[i]
		c.Forward, c.At = 0, 0
		for k := range c.Slots {
			s := &c.Slots[k]
			bounds := 1
			s.Tensor.Floor.DType = "float16"
			n, width := s.Tensor.Noise, s.Tensor.Shape[len(s.Tensor.Shape)-1]
			n.Values, n.Worst.Row, n.Worst.Rows, n.Worst.Column, n.Worst.Columns = 3*width, 1, 2, 0, width
			s.Direction, s.Fate, s.Bounds, s.Tensor.DTypes = report.Outputs, "compared", &bounds, [2]string{"bfloat16", "float32"}
		}
	}
	odd := p.Calls[0].Slots[0].Tensor.Gap
	odd.RelL2, odd.MaxAbs, odd.RMSE, odd.Target, odd.MaxAbsAt = math.Inf(1), math.SmallestNonzeroFloat64, math.Inf(-1), math.Copysign(0, -1), []int{}
	p.Calls[0].Slots[1].Tensor.Shape, p.Calls[0].Slots[1].Tensor.Noise = nil, nil
	var b bytes.Buffer
	require.NoError(t, partial.Write(&b, &p))
	got, err := partial.Read(&b, "")
	require.NoError(t, err)
	require.Equal(t, &p, got)
	require.True(t, math.Signbit(got.Calls[0].Slots[0].Tensor.Gap.Target))
	require.NotNil(t, got.Calls[0].Slots[0].Tensor.Gap.MaxAbsAt) // of a tensor without dimensions
	require.Nil(t, got.Calls[0].Slots[1].Tensor.Shape)

	p.Calls[0].Slots[0].Tensor.Gap.OneMinus = math.NaN()
	require.NoError(t, partial.Write(&b, &p))
	got, err = partial.Read(&b, "")
	require.NoError(t, err)
	require.True(t, math.IsNaN(got.Calls[0].Slots[0].Tensor.Gap.OneMinus))
}

// Parts that do not fit together are refused, whichever way they were damaged.
func TestMergeRefuses(t *testing.T) {
	ref, target := open(t, base), open(t, base+"-filtered")
	fresh := func() (a, b *partial.Report) {
		p := inParts(t, ref, target, Options{}, 2)
		p[0].File, p[1].File = "b.json", "a.json"
		return p[1], p[0]
	}
	for _, c := range []struct {
		edit func(a, b *partial.Report)
		want string
	}{
		{func(a, b *partial.Report) { b.Version = "v2" }, "a.json was written by ildiff , b.json by v2: make all parts with one version"},
		{func(a, b *partial.Report) { b.Layers++ }, "a.json and b.json do not agree on what is compared: make all parts again"},
		{func(a, b *partial.Report) { b.Forwards[1].Why = "other" }, "do not agree on what is compared"},
		{func(a, b *partial.Report) { b.Rule = report.RuleReplay }, "do not agree on what is compared"},
		{func(a, b *partial.Report) { b.Evidence = []report.Measured{{Name: "replay"}} }, "do not agree on what is compared"},
		{func(a, b *partial.Report) { b.Target.Fingerprint = "x" }, "a.json and b.json did not read the same target"},
		{func(a, b *partial.Report) { b.Calls = b.Calls[1:] }, "the parts hold 116 of the 117 calls of the comparison"},
		{func(a, b *partial.Report) { b.Calls[0] = b.Calls[1] }, "is in another part as well: make all parts again"},
		{func(a, b *partial.Report) { b.Options = map[string]string{"steps": "0"} }, "a.json was made with no --steps, b.json with --steps 0"},
	} {
		a, b := fresh()
		c.edit(a, b)
		_, err := Merge([]*partial.Report{b, a})
		require.ErrorContains(t, err, c.want)
	}
	_, err := Merge(nil)
	require.EqualError(t, err, "no parts to merge")
}

// A part is read as it was written, and not if what it says makes no sense,
// whoever has sealed it.
func TestReadRefuses(t *testing.T) {
	nan, half, below := math.NaN(), 0.5, -1.0
	for _, c := range []struct {
		edit func(*partial.Report)
		want string
	}{
		{func(p *partial.Report) { p.Calls[0].Forward = 7 }, "/calls/0: lies outside the forwards"},
		{func(p *partial.Report) { p.Bounds.MaxAbs = &nan }, "/bounds 0: NaN is no limit"},
		{func(p *partial.Report) { p.PolicyBounds = []report.Bounds{{MaxRelL2: &below}} }, "/bounds 1: -1 is no limit"},
		{func(p *partial.Report) { p.PolicyBounds = []report.Bounds{{MinCosine: &nan}} }, "/bounds 1: min_cosine NaN"},
		{func(p *partial.Report) { p.MinCoverage = &nan }, "/min_coverage: NaN, want a percentage"},
		{func(p *partial.Report) { p.MinCoverage = &below }, "/min_coverage: -1, want a percentage"},
		{func(p *partial.Report) { p.RatioLimit = nan }, "/ratio_limit: NaN"},
		{func(p *partial.Report) {
			s := &p.Calls[0].Slots[0]
			rank := "cuda:1"
			s.Fate, s.Tensor, s.Rank = "skipped", nil, &rank
		}, "says of a tensor that was not compared what only comparing it tells"},
		{func(p *partial.Report) { p.MinCoverage = &half }, ""},
	} {
		p := inParts(t, open(t, base), open(t, base), Options{}, 1)[0]
		c.edit(p)
		var b bytes.Buffer
		require.NoError(t, partial.Write(&b, p))
		_, err := partial.Read(&b, "p.json")
		if c.want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, "p.json: is no report of a part: ")
		require.ErrorContains(t, err, c.want)
	}
	var b bytes.Buffer
	require.NoError(t, partial.Write(&b, inParts(t, open(t, base), open(t, base+"-filtered"), Options{}, 1)[0]))
	edited := strings.Replace(b.String(), `"missing_in_target"`, `"skipped"`, 1)
	require.NotEqual(t, b.String(), edited)
	_, err := partial.Read(strings.NewReader(edited), "p.json")
	require.EqualError(t, err, "p.json: is no report of a part: its digest is not that of its content: it was changed after ildiff --shard wrote it; make the part again")
}

// FuzzReadPart holds that no file brings a merge down. The content is sealed as
// it comes, or every change would end at the digest.
func FuzzReadPart(f *testing.F) {
	gap := metric.Gap{Numel: 64, Values: 64, MaxAbs: 1, MaxAbsAt: []int{1, 2}, RelL2: 0.1, WorstToken: &metric.Worst{Index: 1}, ULP: &metric.ULP{Histogram: []int{64}}}
	slot := partial.Slot{Direction: report.Outputs, Fate: "compared", Bits: [2]string{"a", "b"}, Clues: []partial.Clue{{In: 0, Clean: false, Rule: 1, Hint: "x"}}, Tensor: &partial.Tensor{
		DTypes: [2]string{"bfloat16", "float32"}, Shape: []int{4, 16}, Gap: &gap, Logits: &metric.Logits{}, Local: &gap, Token: &partial.Token{},
		Floor: &partial.Floor{DType: "float32", Target: &gap, Emulation: &gap, Apart: &gap},
	}}
	for _, rule := range []report.Rule{report.RuleNoise, report.RuleReplay, report.RuleFloor} {
		p := &partial.Report{
			Schema: partial.Schema, Shard: shard.Part{Index: 1, Count: 1}, Rule: rule, PolicyBounds: []report.Bounds{{}},
			Forwards: []partial.Forward{{Calls: 2}},
			Calls: []partial.Call{
				{Module: "model.layers.0", Slots: []partial.Slot{slot}}, {At: 1, Module: "model.layers.0.self_attn.attn", Slots: []partial.Slot{slot, {Direction: report.Inputs, Fate: "skipped"}}},
			},
		}
		var b bytes.Buffer
		require.NoError(f, partial.Write(&b, p))
		content, _, _ := bytes.Cut(b.Bytes(), []byte(`,"digest"`))
		f.Add(append(content, '}'))
	}
	f.Add([]byte(`{"schema":"ildiff.part/v1","shard":{"index":1,"count":1},"rule":"noise","forwards":[{"calls":1,"work":1}],"calls":[{"module":"model.embed_tokens","slots":[{"direction":"outputs","fate":"compared","tensor":{"dtypes":["bfloat16","int8"],"gap":{"rel_l2":"NaN"}}}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := partial.Read(bytes.NewReader(partial.Seal(data)), "f")
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		r, err := Merge([]*partial.Report{p})
		if err != nil {
			return
		}
		require.NoError(t, render.Text(io.Discard, r, render.TextOptions{All: true}))
		require.NoError(t, render.JSON(io.Discard, r))
	})
}
