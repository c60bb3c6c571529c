// Package comparetest holds sessions against each other in Go tests.
package comparetest

import (
	"strings"
	"testing"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/policy"
	"github.com/ilref/ilref/compare/render"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
)

// RequireClose fails the test, at once and with ildiff's report, unless the
// session in target passes against that in ref: not for a gap alone, but also
// where too little was comparable. What opts do to the options counts; without
// them everything is compared by the default rule.
func RequireClose(t testing.TB, ref, target string, opts ...func(*compare.Options)) {
	t.Helper()
	var o compare.Options
	for _, f := range opts {
		f(&o)
	}
	a, err := il.Open(ref)
	if err != nil {
		t.Fatalf("reference: %v", err)
	}
	b, err := il.Open(target)
	if err != nil {
		t.Fatalf("target: %v", err)
	}
	r, err := compare.Sessions(a, b, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict == report.Pass {
		return
	}
	var text strings.Builder
	if err := render.Text(&text, r, render.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Fatalf("%s is not close to %s:\n%s", target, ref, text.String())
}

// Policy judges by the rules of a file, as ildiff --policy does.
func Policy(t testing.TB, path string) func(*compare.Options) {
	t.Helper()
	p, err := policy.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *compare.Options) { o.Policy = p }
}
