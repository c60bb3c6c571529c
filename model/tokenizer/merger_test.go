package tokenizer

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The heap gives candidates by rank, and by position within a rank.
func TestMergerHeap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m merger
		var want []uint64
		for _, k := range rapid.SliceOf(rapid.Uint64Range(0, 40)).Draw(t, "keys") {
			key := k/8<<32 | k%8
			want = append(want, key)
			m.push(candidate{key: key})
		}
		slices.Sort(want)
		for _, key := range want {
			require.Equal(t, key, m.pop().key)
		}
		require.Empty(t, m.heap)
	})
}

// A word of one letter, where every merge overlaps another, and one so long
// that anything quadratic would show.
func TestMergerRun(t *testing.T) {
	m, err := newBPE(map[string]uint32{"a": 0, "aa": 1, "aaaa": 2})
	require.NoError(t, err)
	require.NoError(t, m.addMerge("a", "a", 0))
	require.NoError(t, m.addMerge("aa", "aa", 1))
	require.Equal(t, []int32{2, 1, 0}, m.word("aaaaaaa"))
	word := make([]byte, 1<<20)
	for i := range word {
		word[i] = 'a'
	}
	require.Len(t, m.word(string(word)), 1<<18)
}
