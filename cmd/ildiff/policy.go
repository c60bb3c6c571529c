package main

import (
	"fmt"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/policy"
	"github.com/ilref/ilref/compare/report"
)

// withPolicy reads the policy file. Bounds on the command line would have to
// rank with its rules in some way: it is a rule that says it.
func (f *flags) withPolicy(o *compare.Options) (err error) {
	if f.policy == "" {
		return nil
	}
	if o.Bounds != (report.Bounds{}) {
		return fmt.Errorf("--policy with a bound on the command line: write the bound as a rule without conditions at the end of %s", f.policy)
	}
	if o.Policy, err = policy.Load(f.policy); err != nil {
		return err
	}
	if b := o.Policy.Logprobs; b != nil && b.Clip != nil && o.Clip != nil {
		return fmt.Errorf("--clip with clip in %s: give one of them", f.policy)
	}
	return nil
}
