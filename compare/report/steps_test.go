package report

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseSteps(t *testing.T) {
	got, err := ParseSteps("0, 2-4,7")
	require.NoError(t, err)
	require.Equal(t, []StepRange{{0, 0}, {2, 4}, {7, 7}}, got)
	for _, bad := range []string{"", "a", "1,", "-1", "3-2", "1-2-3", "1.5", "99999999999"} {
		_, err := ParseSteps(bad)
		require.ErrorContains(t, err, "is neither a step number nor a range; write for example 0,2-4", bad)
	}
}

func TestFormatSteps(t *testing.T) {
	for want, n := range map[string][]int{"no steps": nil, "step 3": {3}, "steps 0-2, 5, 7-8": {0, 1, 2, 5, 7, 8}} {
		require.Equal(t, want, FormatSteps(n))
	}
}
