package pairing

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/nearest"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/tensor"
)

// ApplyPolicy gives every pair of slots its rule. It refuses rules that decide
// nothing, in all of both sessions and whatever part of them is selected: a
// rule that was written for a name that is gone guards nothing any more.
func ApplyPolicy(p *report.Policy, fs []*Forward, ref, target *il.Session) error {
	if p == nil {
		return nil
	}
	used, shadowed := make([]bool, len(p.Rules)), make([]bool, len(p.Rules))
	for _, f := range fs {
		for _, c := range f.Calls {
			pairs := c.Slots
			if len(pairs) == 0 {
				pairs = pairSlots(c.Step, c, false) // not selected, but what rules are written for
			}
			for _, s := range pairs {
				first := true
				for i := range p.Rules {
					ok, err := matches(&p.Rules[i], s)
					if err != nil {
						return fmt.Errorf("%s: %w", p.Rules[i].At, err)
					}
					if !ok {
						continue
					}
					if !first {
						shadowed[i] = true
						continue
					}
					used[i], first = true, false
					s.take(&p.Rules[i])
				}
			}
		}
	}
	for i := range p.Rules {
		if !used[i] {
			return unused(&p.Rules[i], shadowed[i], ref, target)
		}
	}
	return nil
}

// take applies a rule to the tensor it decides.
func (p *Pair) take(r *report.PolicyRule) {
	switch {
	case r.Skip:
		p.Status, p.Why = Excluded, r.Reason+" ("+r.At+")"
	case r.Bounds.Set():
		p.Bounds = &r.Bounds
	}
}

func matches(r *report.PolicyRule, p *Pair) (bool, error) {
	if r.Direction != "" && string(r.Direction) != p.Direction || r.Slot != nil && *r.Slot != p.Slot {
		return false, nil
	}
	if r.Module != nil {
		if ok, err := r.Module.Search(p.Module); !ok || err != nil {
			return false, err
		}
	}
	return len(r.DTypes) == 0 || slices.ContainsFunc(p.types(), func(d tensor.DType) bool { return slices.Contains(r.DTypes, d) }), nil
}

// types are the element types of a slot on both sides, as far as they can be
// read; what cannot is reported when it is compared.
func (p *Pair) types() []tensor.DType {
	var out []tensor.DType
	for _, s := range []*il.Slot{p.Ref, p.Target} {
		switch {
		case s == nil:
		case s.Stub != nil:
			out = append(out, s.Stub.DType)
		case len(s.Tensors) > 0:
			_ = s.Tensors[0].With(func(t *tensor.Tensor) error {
				out = append(out, t.DType)
				return nil
			})
		}
	}
	return out
}

// unused tells why a rule decides nothing, and which names it may have meant.
func unused(r *report.PolicyRule, shadowed bool, ref, target *il.Session) error {
	if shadowed {
		return fmt.Errorf("%s: the rule decides nothing: earlier rules match all of its tensors; move it up or remove it", r.At)
	}
	names := map[string]bool{}
	for _, s := range []*il.Session{ref, target} {
		for _, st := range s.Steps {
			for _, c := range st.Calls {
				names[c.Module] = true
			}
		}
	}
	all := slices.Sorted(maps.Keys(names))
	if r.Module == nil {
		return fmt.Errorf("%s: the rule matches no tensor of the %s of the two sessions%s", r.At, plural.Count(len(all), "module"), conditions(r))
	}
	for _, n := range all {
		if ok, _ := r.Module.Search(n); ok {
			return fmt.Errorf("%s: the rule matches no tensor: module %q is found, in %s for one, but not%s", r.At, r.Module, n, conditions(r))
		}
	}
	near := nearestModules(r.Module.String(), all)
	if len(near) > 0 {
		return fmt.Errorf("%s: the rule matches no tensor: module %q is found in none of the %d module names; the nearest are %s", r.At, r.Module, len(all), strings.Join(near, ", "))
	}
	return fmt.Errorf("%s: the rule matches no tensor: module %q is found in none of the %d module names, as %s", r.At, r.Module, len(all), strings.Join(all[:min(3, len(all))], ", "))
}

// conditions lists what a rule asks for beside the module.
func conditions(r *report.PolicyRule) string {
	var out []string
	if len(r.DTypes) > 0 {
		names := make([]string, len(r.DTypes))
		for i, d := range r.DTypes {
			names[i] = d.String()
		}
		out = append(out, "dtype "+strings.Join(names, " or "))
	}
	if r.Direction != "" {
		out = append(out, "direction "+string(r.Direction))
	}
	if r.Slot != nil {
		out = append(out, fmt.Sprintf("slot %q", *r.Slot))
	}
	if len(out) == 0 {
		return ""
	}
	return " with " + strings.Join(out, ", ")
}

// nearestModules are the names that are most like a pattern's plain text.
func nearestModules(pattern string, names []string) []string {
	plain := strings.NewReplacer(`\d+`, "0", `\.`, ".", "^", "", "$", "", "(", "", ")", "", "?:", "", `\`, "").Replace(pattern)
	if found := nearest.Holding(plain, names, 3); len(found) > 0 {
		return found
	}
	if n := nearest.To(plain, names); n != "" {
		return []string{n}
	}
	return nil
}
