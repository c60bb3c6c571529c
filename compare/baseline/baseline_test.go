package baseline

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/tensor"
)

const base = "llama3-gqa-bf16"

func take(t *testing.T, name string) *Print {
	t.Helper()
	s, err := il.Open(fixture.Session(t, name))
	require.NoError(t, err)
	p, err := Take(context.Background(), s)
	require.NoError(t, err)
	return p
}

func of(p *Print) *Baseline {
	return &Baseline{Schema: Schema, History: []Entry{{Action: "save", Session: "s"}}, Tensors: p.Tensors}
}

// PyTorch's sessions: noise passes, each fault is found where ildiff finds it
// (of a swap in qkv_proj, among the first tensors that show it).
func TestCheckFixtures(t *testing.T) {
	b := of(take(t, base))
	for _, c := range []struct{ target, first string }{
		{base, ""},
		{base + "-splitk", ""},
		{"llama3-gqa-fp32", ""},
		{base + "-fault-row_scale", "step_0/model.layers.0.self_attn.o_proj/outputs_0: "},
		{base + "-fault-rope_theta", "step_0/model.layers.0.self_attn.rotary_emb/outputs_0: "},
		{base + "-fault-kv_swapped", "step_0/model.layers.1.self_attn.qkv_proj/outputs_0: "},
	} {
		r, err := b.Check(c.target, take(t, c.target))
		require.NoError(t, err)
		require.Equal(t, 330, r.Compared, c.target)
		if c.first == "" {
			require.Equal(t, report.Pass, r.Verdict, "%s: %s", c.target, r.First)
			continue
		}
		require.Equal(t, report.Fail, r.Verdict, c.target)
		require.True(t, strings.HasPrefix(r.First, c.first), "%s: %s", c.target, r.First)
	}
}

// The estimates are as good as they say: against the measured gaps, four
// standard errors hold every tensor of a session (of 291 that differ one in
// 16,000 is beyond by chance).
func TestEstimates(t *testing.T) {
	a, b := fixture.Session(t, base), fixture.Session(t, base+"-splitk")
	ref, err := il.Open(a)
	require.NoError(t, err)
	target, err := il.Open(b)
	require.NoError(t, err)
	report, err := compare.Sessions(ref, target, compare.Options{})
	require.NoError(t, err)
	measured := map[string]float64{}
	for _, x := range report.Tensors {
		measured[x.Key.String()] = x.Gap.RelL2
	}
	before := map[key]*Tensor{}
	for _, x := range take(t, base).Tensors {
		before[x.key()] = x
	}
	sum, n := 0.0, 0
	for _, x := range take(t, base+"-splitk").Tensors {
		m := measured[x.String()]
		g := before[x.key()].gap(&x.Fingerprint)
		if m == 0 {
			require.Zero(t, g, x.String())
			continue
		}
		require.InDelta(t, 1, g/m, 4/math.Sqrt(2*Projections), x.String())
		sum, n = sum+g*g/(m*m), n+1
	}
	require.Equal(t, 291, n)
	require.InDelta(t, 1, sum/float64(n), 0.1) // the square has no bias; equal signs for all tensors leave some correlation
}

// Modules of other names are another model; a filtered session is not.
func TestForeign(t *testing.T) {
	b, p := of(take(t, base)), take(t, base)
	for _, x := range p.Tensors {
		x.Module = "transformer." + x.Module
	}
	_, err := b.Check("s", p)
	require.EqualError(t, err, "the baseline is foreign to s: of its 37 modules 0 are among the session's 37: another model")
	r, err := b.Check("s", &Print{Tensors: take(t, base).Tensors[:3], Unreadable: []string{b.Tensors[5].String() + ": broken"}})
	require.NoError(t, err)
	require.Equal(t, []any{3, 326, 1, 3}, []any{r.Compared, len(r.Missing), len(r.Unreadable), r.ExitCode()})
	r, err = b.Check("s", &Print{})
	require.NoError(t, err)
	require.Equal(t, 3, r.ExitCode())
}

// The first outputs of SplitMix64 with seed 0, from the reference code
// (S. Vigna, splitmix64.c).
func TestSigns(t *testing.T) {
	require.Equal(t, uint64(0xe220a8397b1dcdaf), signs(0))
	require.Equal(t, uint64(0x6e789e6aa1b965f4), signs(1))
	require.Equal(t, uint64(0x06c45d188009454f), signs(2))
}

func TestFingerprint(t *testing.T) {
	f, err := fingerprint(tensor.FromFloat64s(tensor.Float32, []float64{3, -4, math.NaN(), math.Inf(1), 0}, 5))
	require.NoError(t, err)
	require.Equal(t, []any{-4., 3., -1. / 3, 1, 1, 5}, []any{f.Min, f.Max, f.Mean, f.NaN, f.Inf, f.Numel})
	require.InDelta(t, 5, f.norm(), 1e-12)
	none, err := fingerprint(tensor.New(tensor.BFloat16, 0, 4))
	require.NoError(t, err)
	require.Zero(t, none.gap(none))
	nan, err := fingerprint(tensor.FromFloat64s(tensor.Float32, []float64{math.NaN(), 1, 1, 1, 1}, 5))
	require.NoError(t, err)
	require.True(t, math.IsInf(f.gap(nan), 1))
	ids, err := fingerprint(tensor.FromInts(tensor.Int64, []int{1, 2}, 2))
	require.NoError(t, err)
	same, err := fingerprint(tensor.FromInts(tensor.Int32, []int{1, 2}, 2))
	require.NoError(t, err)
	require.Zero(t, ids.gap(same)) // another type, equal values
	other, err := fingerprint(tensor.FromInts(tensor.Int64, []int{1, 3}, 2))
	require.NoError(t, err)
	require.True(t, math.IsInf(ids.gap(other), 1))
	_, err = fingerprint(&tensor.Tensor{DType: tensor.Float32, Shape: []int{1 << 40}, Stride: []int{0}, Data: make([]byte, 4)})
	require.ErrorContains(t, err, "is float32[1099511627776] by strides [0] over a storage of 4 bytes")
}

func TestNaN(t *testing.T) {
	p := take(t, base)
	require.Empty(t, p.NaN(nil))
	b := of(take(t, base))
	p.Tensors[7].NaN = 2
	require.Equal(t, p.Tensors[7].String(), p.NaN(b))
	r, err := b.Check("s", p)
	require.NoError(t, err)
	require.Equal(t, report.Pass, r.Verdict) // equal hashes: it is the count alone that this test changed
	p.Tensors[7].SHA256 = strings.Repeat("0", 64)
	r, err = b.Check("s", p)
	require.NoError(t, err)
	require.Contains(t, r.First, "NaN: 0 in the baseline, 2 in the session")
}

func TestParseErrors(t *testing.T) {
	b := of(take(t, base))
	b.Tensors = b.Tensors[:2]
	var good bytes.Buffer
	require.NoError(t, b.Write(&good))
	back, err := Parse("b.json", good.Bytes())
	require.NoError(t, err)
	require.Equal(t, b, back)
	name := b.Tensors[0].String()
	for _, c := range []struct{ old, new, want string }{
		{good.String(), "x", "b.json: is no baseline: invalid character 'x'"},
		{Schema, "ildiff.baseline/v7", "b.json: is stale: its schema is ildiff.baseline/v7, this ildiff's ildiff.baseline/v1; save it again"},
		{Schema, "ildiff.report/v1", `b.json: is no baseline: its schema is "ildiff.report/v1", want "ildiff.baseline/v1"`},
		{`"history"`, `"histories"`, `b.json: is damaged: json: unknown field "histories"`},
		{`"int32"`, `"int23"`, "b.json: is damaged: " + name + `: dtype "int23"`},
		{`"sha256": "`, `"sha256": "0`, `sha256 "0`},
		{`"numel": 11`, `"numel": 12`, "numel 12 of shape [11]"},
		{`"nan": 0`, `"nan": 12`, "12 NaN and 0 infinities of 11 values"},
		{`"projected": "`, `"projected": "AAAA`, "259 bytes of projections, want 256"},
		{fmt.Sprintf(`"direction": %q`, b.Tensors[1].Direction), fmt.Sprintf(`"slot": "0", "rank": 0, "direction": "inputs", "zzz": %q`, ""), "unknown field"},
	} {
		_, err := Parse("b.json", []byte(strings.Replace(good.String(), c.old, c.new, 1)))
		require.ErrorContains(t, err, c.want)
	}
	b.Tensors[1] = b.Tensors[0]
	good.Reset()
	require.NoError(t, b.Write(&good))
	_, err = Parse("b.json", good.Bytes())
	require.ErrorContains(t, err, name+" stands twice")
	_, err = Parse("b.json", []byte(`{"schema": "ildiff.baseline/v1", "history": [{}], "tensors": [null]}`))
	require.ErrorContains(t, err, "tensors[0] is null")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schema": "ildiff.baseline/v1", "history": [{}], "tensors": [{"dtype": "int32", "shape": [1], "numel": 1}]}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if b, err := Parse("b.json", data); err == nil {
			_, _ = b.Check("s", &Print{Tensors: b.Tensors})
		}
	})
}

// What sums do not see: which values are infinite and of what sign, integers
// beyond 2^53, types without numbers.
func TestExactFingerprint(t *testing.T) {
	print := func(x *tensor.Tensor) *Fingerprint {
		f, err := fingerprint(x)
		require.NoError(t, err)
		return f
	}
	floats := func(v ...float64) *Fingerprint { return print(tensor.FromFloat64s(tensor.Float32, v, len(v))) }
	inf := math.Inf(1)
	a := floats(inf, 1, 2, 3)
	require.Zero(t, a.gap(floats(inf, 1, 2, 3)))
	require.True(t, math.IsInf(a.gap(floats(-inf, 1, 2, 3)), 1), "another sign")
	require.True(t, math.IsInf(a.gap(floats(1, inf, 2, 3)), 1), "another place")
	require.True(t, math.IsInf(a.gap(floats(math.NaN(), 1, 2, 3)), 1), "NaN")
	old := *a
	old.NonFinite = "" // of a baseline before it was told
	require.Less(t, old.gap(floats(-inf, 1, 2, 3)), 1.0)

	require.True(t, math.IsInf(print(tensor.FromInts(tensor.Int64, []int{1 << 60, 1}, 2)).gap(print(tensor.FromInts(tensor.Int64, []int{1<<60 + 1, 1}, 2))), 1))
	opaque := func(b byte) *Fingerprint {
		return print(&tensor.Tensor{DType: tensor.Bits8, Shape: []int{2}, Stride: []int{1}, Data: []byte{7, b}})
	}
	require.Zero(t, opaque(1).gap(opaque(1)))
	require.True(t, math.IsInf(opaque(1).gap(opaque(2)), 1))
}
