package texttab

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		line  string
		width int
		want  string
	}{
		{"one two three", 0, "one two three"},
		{"one two three", 13, "one two three"},
		{"one two three", 12, "one two\n    three"},
		{"  one two three", 9, "  one two\n      three"},
		{"one two", 3, "one\n    two"},
		{"overlong word", 4, "overlong\n    word"},
		{"one  two three", 9, "one  two\n    three"},
		{"≥≤… two", 7, "≥≤… two"},
		{Paint("FAIL", Red) + " because", 12, Paint("FAIL", Red) + " because"},
		{Paint("FAIL", Red) + " because", 11, Paint("FAIL", Red) + "\n    because"},
	} {
		require.Equal(t, c.want, Wrap(c.line, c.width), "%q", c.line)
	}
}
