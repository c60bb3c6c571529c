package texttab

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func sample() *Table {
	t := &Table{Columns: []Column{{Title: "name"}, {Title: "gap", Right: true}, {Title: "more", Right: true, Priority: 2}, {Title: "some", Right: true, Priority: 1}, {Title: "verdict"}}}
	t.Add(Cell{Text: "größe"}, Cell{Text: "1"}, Cell{Text: "22"}, Cell{Text: "333"}, Cell{"ok", Green})
	t.Add(Cell{Text: "a"}, Cell{Text: "1.5e-03"}, Cell{}, Cell{Text: "4"}, Cell{"FAIL", Red})
	t.AddSpan(Cell{Text: "z"}, Cell{"a text that is far wider than its column and takes the rest", Dim})
	return t
}

func TestWrite(t *testing.T) {
	for _, c := range []struct {
		width int
		want  string
	}{
		{0, `name       gap  more  some  verdict
größe        1    22   333  ok
a      1.5e-03           4  FAIL
z      a text that is far wider than its column and takes the rest
`},
		{30, `name       gap  some  verdict
größe        1   333  ok
a      1.5e-03     4  FAIL
z      a text that is far wider than its column and takes the rest
`},
		{10, `name       gap  verdict
größe        1  ok
a      1.5e-03  FAIL
z      a text that is far wider than its column and takes the rest
`},
	} {
		var b strings.Builder
		require.NoError(t, sample().Write(&b, c.width, false))
		require.Equal(t, c.want, b.String(), "width %d", c.width)
	}
}

// Colours change nothing but the escape sequences: columns stay aligned.
func TestColor(t *testing.T) {
	var plain, color strings.Builder
	require.NoError(t, sample().Write(&plain, 0, false))
	require.NoError(t, sample().Write(&color, 0, true))
	require.Contains(t, color.String(), "\x1b[1;31mFAIL\x1b[0m")
	stripped := color.String()
	for _, s := range []Style{Bold, Dim, Red, Green, Yellow} {
		stripped = strings.ReplaceAll(stripped, "\x1b["+string(s)+"m", "")
	}
	require.Equal(t, plain.String(), strings.ReplaceAll(stripped, "\x1b[0m", ""))
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteError(t *testing.T) {
	require.EqualError(t, sample().Write(full{}, 0, false), "disk full")
}
