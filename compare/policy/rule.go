package policy

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/nearest"
	"github.com/ilref/ilref/internal/pyregex"
	"github.com/ilref/ilref/tensor"
)

var ruleKeys = []string{
	"module", "dtype", "direction", "slot",
	"max_abs", "min_cosine", "max_rel_l2", "rtol", "atol", "max_mismatched",
	"judge", "skip", "reason",
}

// rule reads one rule: conditions, and either bounds, judge or skip.
func (p *parser) rule(n *yaml.Node) (*report.PolicyRule, error) {
	r := &report.PolicyRule{At: fmt.Sprintf("%s:%d", p.name, n.Line)}
	set := map[string]*yaml.Node{}
	err := p.mapping(n, "a rule", ruleKeys, func(key, value *yaml.Node) error {
		set[key.Value] = key
		return p.field(r, key.Value, value)
	})
	if err != nil {
		return nil, err
	}
	var acts []string
	for _, k := range ruleKeys[4:12] {
		if set[k] == nil {
			continue
		}
		kind := k
		if k != "judge" && k != "skip" {
			kind = "bounds"
		}
		if k == "judge" && len(acts) == 1 { // the default rule beside bounds
			r.Bounds.Default = true
			continue
		}
		if len(acts) == 0 || acts[len(acts)-1] != kind {
			acts = append(acts, kind)
		}
	}
	switch {
	case len(acts) == 0:
		return nil, p.errorAt(n, "the rule says nothing: give it bounds (%s), judge: default or skip: true", strings.Join(ruleKeys[4:10], ", "))
	case len(acts) > 1:
		return nil, p.errorAt(n, "the rule has both %s; want one", strings.Join(acts, " and "))
	case r.Skip && strings.TrimSpace(r.Reason) == "":
		return nil, p.errorAt(set["skip"], "skip without a reason: say why in reason")
	case !r.Skip && set["reason"] != nil:
		return nil, p.errorAt(set["reason"], "reason is for skip: true; write a comment (# …) for bounds")
	}
	return r, nil
}

// field reads the value of one key.
func (p *parser) field(r *report.PolicyRule, key string, v *yaml.Node) error {
	switch key {
	case "dtype":
		return p.dtypes(r, v)
	case "max_abs", "max_rel_l2", "rtol", "atol", "max_mismatched", "min_cosine":
		return p.bound(&r.Bounds, key, v)
	}
	if v.Kind != yaml.ScalarNode || v.Tag == "!!null" {
		return p.errorAt(v, "%s: want a text, found %s", key, shown(v))
	}
	switch key {
	case "module":
		re, err := pyregex.Compile(v.Value)
		if err != nil {
			return p.errorAt(v, "module %q: %v", v.Value, err)
		}
		r.Module = re
	case "direction":
		r.Direction = il.Direction(v.Value)
		return p.oneOf(v, key, string(il.Inputs), string(il.Outputs), string(il.PostFwdInputs))
	case "slot":
		r.Slot = &v.Value
	case "judge":
		return p.oneOf(v, key, "default")
	case "skip":
		r.Skip = true
		return p.oneOf(v, key, "true")
	case "reason":
		r.Reason = strings.Join(strings.Fields(v.Value), " ")
	}
	return nil
}

func (p *parser) oneOf(v *yaml.Node, key string, allowed ...string) error {
	for _, a := range allowed {
		if v.Value == a {
			return nil
		}
	}
	return p.errorAt(v, "%s: %q, want %s", key, v.Value, strings.Join(allowed, ", "))
}

// dtypes reads one name of an element type, or a list.
func (p *parser) dtypes(r *report.PolicyRule, v *yaml.Node) error {
	list := []*yaml.Node{v}
	if v.Kind == yaml.SequenceNode && len(v.Content) > 0 {
		list = v.Content
	}
	for _, n := range list {
		if n.Kind != yaml.ScalarNode {
			return p.errorAt(n, "dtype: want the name of an element type, as bfloat16, or a list of some; found %s", shown(n))
		}
		d, ok := tensor.ParseDType(n.Value)
		if !ok {
			var names []string
			for _, d := range tensor.DTypes() {
				names = append(names, d.String())
			}
			if near := nearest.To(n.Value, names); near != "" {
				return p.errorAt(n, "dtype: no element type is called %q, did you mean %q?", n.Value, near)
			}
			return p.errorAt(n, "dtype: no element type is called %q; want torch's name, as bfloat16", n.Value)
		}
		r.DTypes = append(r.DTypes, d)
	}
	return nil
}

// bound reads a finite number in the range of its metric.
func (p *parser) bound(b *report.Bounds, key string, v *yaml.Node) error {
	low, high := 0.0, math.MaxFloat64
	to := map[string]**float64{
		"max_abs": &b.MaxAbs, "max_rel_l2": &b.MaxRelL2, "rtol": &b.RTol, "atol": &b.ATol,
		"max_mismatched": &b.MaxMismatched, "min_cosine": &b.MinCosine,
	}[key]
	want := "a number, 0 or more"
	switch key {
	case "max_mismatched":
		high, want = 1, "a share of the values, 0 to 1"
	case "min_cosine":
		low, high, want = -1, 1, "a number from -1 to 1"
	}
	x, err := strconv.ParseFloat(v.Value, 64)
	if v.Kind != yaml.ScalarNode || err != nil || !(x >= low && x <= high) {
		return p.errorAt(v, "%s: want %s, found %s", key, want, shown(v))
	}
	*to = &x
	return nil
}
