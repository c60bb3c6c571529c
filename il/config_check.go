package il

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ilref/ilref/internal/nearest"
)

// Check holds the configuration against the modules of a model. It is an
// error if nothing would be logged, or if a pattern gives up; entries of
// module_call_match that select nothing beside others that do become warnings.
func (c *Config) Check(modules []string) error {
	if !c.Enabled {
		return errors.New(`il config: "enabled" is false: nothing would be logged`)
	}
	if len(c.ModuleCallMatch) == 0 {
		return nil
	}
	matched, decides, err := c.reach(modules)
	if err != nil {
		return fmt.Errorf("il config: module_call_match: %w", err)
	}
	var dead []string
	for i, p := range c.ModuleCallMatch {
		switch {
		case !matched[i]:
			dead = append(dead, describeDead(p, modules))
		case !decides[i]:
			c.warn(fmt.Sprintf("module_call_match %q selects nothing: earlier entries decide on all modules that it matches", p.Entry))
		}
	}
	if len(dead) == len(c.ModuleCallMatch) {
		return fmt.Errorf("il config: module_call_match selects no module of this model: %s", strings.Join(dead, "; "))
	}
	for _, d := range dead {
		c.warn("module_call_match selects no module of this model with " + d)
	}
	return nil
}

// reach tells for every pattern whether it matches a module, and whether it is
// one that decides (see Select).
func (c *Config) reach(modules []string) (matched, decides []bool, err error) {
	matched, decides = make([]bool, len(c.ModuleCallMatch)), make([]bool, len(c.ModuleCallMatch))
	for _, m := range modules {
		first := -1
		for i, p := range c.ModuleCallMatch {
			ok, err := p.re.Search(m)
			if err != nil {
				return nil, nil, err
			}
			matched[i] = matched[i] || ok
			if ok && first < 0 {
				first = i
			}
			if first >= 0 && p.Regex == c.ModuleCallMatch[first].Regex {
				decides[i] = true
			}
		}
	}
	return matched, decides, nil
}

// describeDead names an entry and the modules that it may have meant.
func describeDead(p Pattern, modules []string) string {
	plain := strings.Trim(strings.NewReplacer(`\.`, ".", ".*", "", `\`, "", "^", "", "$", "").Replace(p.Regex), ".")
	near := nearest.Holding(plain, modules, 3)
	if len(near) == 0 {
		return fmt.Sprintf("%q", p.Entry)
	}
	return fmt.Sprintf("%q (nearest: %s)", p.Entry, strings.Join(near, ", "))
}
