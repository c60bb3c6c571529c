package normalize

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Whose token follows a row: what both ran, or the last that one side alone ran.
func TestNextToken(t *testing.T) {
	of := func(ids ...int) *layout { return &layout{tokens: [][]int{ids}} }
	at := row{0, 1}
	for _, c := range []struct {
		name string
		a, b *layout
		id   int
		how  NextToken
	}{
		{"both ran it", of(5, 6, 7, 8), of(5, 6, 7), 7, NextRun},
		{"other tokens", of(5, 6, 7), of(5, 6, 9), 0, NextOther},
		{"neither", of(5, 6), of(5, 6), 0, NextNone},
		{"the last that was sampled", of(5, 6, 7), of(5, 6), 7, NextRun},
		{"the same in the target", of(5, 6), of(5, 6, 7), 7, NextRun},
		{"padding behind", of(5, 6, 0, 0), of(5, 6), 0, NextNone},
		{"a prefix that was cached", of(5, 6, unknown, 8), of(5, 6, 7, 8), 0, NextNone},
	} {
		id, how := next(c.a, c.b, at, at)
		require.Equal(t, c.how, how, c.name)
		if how == NextRun {
			require.Equal(t, c.id, id, c.name)
		}
	}
}

// Logits of all rows, or of as many at the end of every chunk, are told from others.
func TestLastRows(t *testing.T) {
	rows := func(n ...int) (p pass) {
		for q, k := range n {
			for i := range k {
				p.rows = append(p.rows, row{q, i})
			}
		}
		return p
	}
	two := rows(3, 4)
	require.Equal(t, two.rows, two.lastRows(7))
	require.Equal(t, []row{{0, 1}, {0, 2}, {1, 2}, {1, 3}}, two.lastRows(4))
	require.Equal(t, []row{{0, 2}, {1, 3}}, two.lastRows(2))
	for _, n := range []int{-1, 0, 1, 3, 5, 8} {
		require.Nil(t, two.lastRows(n), "%d", n)
	}
	one := rows(2, 6)
	require.Nil(t, one.lastRows(6), "a chunk of 2 has no 3 rows")
}
