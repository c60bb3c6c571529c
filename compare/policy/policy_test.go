package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

func TestParse(t *testing.T) {
	p, err := Parse("p.yaml", []byte(`# comment
version: 1
rules:
  - module: 'attn$'
    dtype: [bfloat16, float16]
    direction: outputs
    slot: ""
    max_abs: 0.5
    min_cosine: .99
    max_rel_l2: 1e-2
    rtol: 0
    atol: 1
    max_mismatched: 0.25
  - {dtype: int64, judge: default}
  - skip: true
    reason: >-
      two
      lines
`))
	require.NoError(t, err)
	require.Len(t, p.Rules, 3)
	r := p.Rules[0]
	require.Equal(t, "p.yaml:4", r.At)
	require.Equal(t, []tensor.DType{tensor.BFloat16, tensor.Float16}, r.DTypes)
	require.Equal(t, il.Outputs, r.Direction)
	require.Empty(t, *r.Slot)
	require.Equal(t, []float64{0.5, 0.99, 1e-2, 0, 1, 0.25}, []float64{*r.Bounds.MaxAbs, *r.Bounds.MinCosine, *r.Bounds.MaxRelL2, *r.Bounds.RTol, *r.Bounds.ATol, *r.Bounds.MaxMismatched})
	require.Nil(t, p.Rules[1].Module)
	require.True(t, p.Rules[2].Skip)
	require.Equal(t, "two lines", p.Rules[2].Reason)
}

// Every refusal names the place and the way out.
func TestParseErrors(t *testing.T) {
	head := "version: 1\nrules:\n  - "
	for _, c := range []struct{ text, want string }{
		{"", "p.yaml: is empty, want version: 1 and rules"},
		{"# nothing\n", "p.yaml: is empty, want version: 1 and rules"},
		{"a: [", "p.yaml:1: not YAML: did not find expected node content"},
		{"- 1", "p.yaml:1:1: want a policy with the keys version, rules, logprobs, found a list"},
		{"rules: []", "p.yaml:1:1: no version, want version: 1"},
		{"version: 1", "p.yaml:1:1: no rules"},
		{"version: 2\nrules: []", `p.yaml:1:10: version "2", but this ildiff reads version 1`},
		{"version: 1\nrules: []", "p.yaml:2:8: rules: want a list of rules, with one at least"},
		{"version: 1\nrule: []", `p.yaml:2:1: unknown key "rule", did you mean "rules"?`},
		{"version: 1\nversion: 1", `p.yaml:2:1: key "version" stands twice`},
		{head + "max_relative: 1", `p.yaml:3:5: unknown key "max_relative", did you mean "max_rel_l2"?`},
		{head + "q: 1", `p.yaml:3:5: unknown key "q", want one of module, dtype`},
		{head + "max_abs: &a 1\n    rtol: *a", "p.yaml:4:11: rtol: write the value out, aliases are not read"},
		{head + "module: (\n    max_abs: 1", `p.yaml:3:13: module "(": missing ), unterminated subpattern at position 0`},
		{head + "module: [a]", "p.yaml:3:13: module: want a text, found a list"},
		{head + "module:", "p.yaml:3:12: module: want a text, found nothing"},
		{head + "dtype: bfloat", `p.yaml:3:12: dtype: no element type is called "bfloat", did you mean "bfloat16"?`},
		{head + "dtype: [q]", `p.yaml:3:13: dtype: no element type is called "q"; want torch's name, as bfloat16`},
		{head + "dtype: {}", "p.yaml:3:12: dtype: want the name of an element type, as bfloat16, or a list of some; found a mapping"},
		{head + "direction: out", `p.yaml:3:16: direction: "out", want inputs, outputs, post_fwd_inputs`},
		{head + "judge: strict", `p.yaml:3:12: judge: "strict", want default`},
		{head + "skip: false", `p.yaml:3:11: skip: "false", want true`},
		{head + "skip: true", "p.yaml:3:5: skip without a reason: say why in reason"},
		{head + "skip: true\n    reason: ' '", "p.yaml:3:5: skip without a reason: say why in reason"},
		{head + "judge: default\n    reason: x", "p.yaml:4:5: reason is for skip: true"},
		{head + "module: a", "p.yaml:3:5: the rule says nothing: give it bounds (max_abs, "},
		{head + "max_abs: 1\n    judge: default\n    skip: true\n    reason: x", "p.yaml:3:5: the rule has both bounds and skip; want one"},
		{head + "max_abs: -1", `p.yaml:3:14: max_abs: want a number, 0 or more, found "-1"`},
		{head + "max_abs: .nan", "max_abs: want a number, 0 or more"},
		{head + "max_rel_l2: .inf", "max_rel_l2: want a number, 0 or more"},
		{head + "min_cosine: 2", `min_cosine: want a number from -1 to 1, found "2"`},
		{head + "max_mismatched: 2", `max_mismatched: want a share of the values, 0 to 1, found "2"`},
		{"version: 1\nlogprobs: {}", "p.yaml:2:11: logprobs bound nothing: give one of max_abs_log_ratio, "},
		{"version: 1\nlogprobs: {clip: 0.1}", "p.yaml:2:11: logprobs bound nothing"},
		{"version: 1\nlogprobs: 1", `p.yaml:2:11: want logprobs with the keys max_abs_log_ratio, `},
		{"version: 1\nlogprobs: {max_abs_log_ratio: -1}", `p.yaml:2:31: max_abs_log_ratio: want a number, 0 or more, found "-1"`},
		{"version: 1\nlogprobs: {mean_kl: .nan}", `p.yaml:2:21: mean_kl: want a number, 0 or more, found ".nan"`},
		{"version: 1\nlogprobs: {min_ess: 1.1}", `p.yaml:2:21: min_ess: want a share of the tokens, 0 to 1, found "1.1"`},
		{"version: 1\nlogprobs: {mean_exp_abs_log_ratio: 0.9}", `mean_exp_abs_log_ratio: want a number, 1 (of equal sides) or more, found "0.9"`},
		{"version: 1\nlogprobs: {clip: .inf, max_kl: 1}", `p.yaml:2:18: clip: want a number, 0 or more, found ".inf"`},
		{"version: 1\nlogprobs: {ess: 1}", `p.yaml:2:12: unknown key "ess"`},
		{"version: 1\nlogprobs: {max_kl: 1, max_kl: 1}", `p.yaml:2:23: key "max_kl" stands twice`},
		{head + "judge: default\n---\nversion: 1", "p.yaml:4:1: a second document, want one policy a file"},
		{head + "judge: default\n---\n{", ": not YAML"},
	} {
		_, err := Parse("p.yaml", []byte(c.text))
		require.ErrorContains(t, err, c.want, "%s", c.text)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestLoadErrors(t *testing.T) {
	_, err := Load("absent.yaml")
	require.ErrorContains(t, err, "policy: open absent.yaml")
	big := filepath.Join(t.TempDir(), "big.yaml")
	require.NoError(t, os.WriteFile(big, []byte(strings.Repeat("#", maxSize+1)), 0o600))
	_, err = Load(big)
	require.ErrorContains(t, err, "has 4194305 bytes, expected at most 4194304")
	_, err = Load(t.TempDir())
	require.ErrorContains(t, err, "is a directory")
}

func FuzzParse(f *testing.F) {
	f.Add("version: 1\nrules:\n  - {module: a, dtype: [int64], max_abs: 1}\n  - {skip: true, reason: x}\n")
	f.Add("version: 1\nlogprobs: {max_kl: 1, clip: 0.1}\n")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse("p.yaml", []byte(text))
		if err == nil && len(p.Rules) == 0 && !p.Logprobs.Set() {
			t.Fatal("no rules and no error")
		}
	})
}

func TestParseLogprobs(t *testing.T) {
	p, err := Parse("p.yaml", []byte("version: 1\nlogprobs:\n  max_abs_log_ratio: 0.5\n  mean_abs_log_ratio: 0.02\n  mean_exp_abs_log_ratio: 1.05\n  max_kl: 1e-2\n  mean_kl: 1e-3\n  max_prob_diff: 0.1\n  min_ess: 0.95\n  max_clipped: 0.01\n  clip: 0.3\n"))
	require.NoError(t, err)
	require.Empty(t, p.Rules)
	b := p.Logprobs
	require.Equal(t, []float64{0.5, 0.02, 1.05, 1e-2, 1e-3, 0.1, 0.95, 0.01, 0.3}, []float64{
		*b.MaxAbsLogRatio, *b.MeanAbsLogRatio, *b.MeanExpAbs, *b.MaxKL, *b.MeanKL, *b.MaxProbDiff, *b.MinESS, *b.MaxClipped, *b.Clip,
	})
}
