package compare

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/report"
)

func TestSelectionErrors(t *testing.T) {
	s := session(map[int]string{0: "a b", 1: "a"})
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Steps: []report.StepRange{{First: 0, Last: 0}, {First: 5, Last: 9}}}, "step 5-9 is in neither session: the reference holds steps 0-1, the target steps 0-1"},
		{Options{Modules: []string{"a", "zzz"}}, `module pattern "zzz" matches none of the 2 modules of the two sessions`},
		{Options{Modules: []string{"("}}, `module pattern "(": missing ), unterminated subpattern at position 0`},
		{Options{Modules: []string{"(a?b?)*(a?b?)*(a?b?)*(a?b?)*(a?b?)*$(?<=x)y"}}, ""},
	} {
		_, err := Sessions(s, s, c.o)
		require.Error(t, err)
		if c.want != "" {
			require.EqualError(t, err, c.want)
		}
	}
}

func TestSelected(t *testing.T) {
	good := open(t, base)
	r := run(t, good, good, Options{Steps: []report.StepRange{{First: 1, Last: 2}}, Modules: []string{`layers\.1\.(?!mlp)`, "^logits"}})
	require.Equal(t, report.Pass, r.Verdict)
	seen := map[string]bool{}
	for _, m := range r.Modules {
		require.Contains(t, []int{1, 2}, m.Step)
		seen[m.Module] = true
	}
	require.Len(t, seen, 7) // six of layer 1 without its mlp and the rope that is shared under layer 0, and logits
	require.True(t, seen["logits_processor"])
	require.Equal(t, 100.0, r.Coverage.Percent())
}
