package ref

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSlots follows vLLM's persistent batch: indices are kept, new requests
// fill the smallest free ones, the last request moves into a hole that remains.
func TestSlots(t *testing.T) {
	r := map[byte]*Request{}
	for _, c := range "abcdef" {
		r[byte(c)] = &Request{}
	}
	var batch slots
	for _, step := range []struct{ running, want string }{
		{"abcd", "abcd"},
		{"bcd", "dbc"},   // a ended: the last, d, moves into index 0
		{"bcde", "dbce"}, // e is new: appended
		{"bdef", "dbfe"}, // c ended and f is new: f takes its index
		{"f", "f"},       // all others ended
		{"abcf", "fabc"}, // resumed requests are appended
		{"b", "b"},       //
	} {
		var running []*Request
		for i := range step.running {
			r[step.running[i]].next = 1
			running = append(running, r[step.running[i]])
		}
		batch.update(running)
		var got []byte
		for _, x := range batch {
			for name, y := range r {
				if x == y {
					got = append(got, name)
				}
			}
		}
		require.Equal(t, step.want, string(got), "running %s", step.running)
	}
}

// TestSchedule fills the budget with running requests first, then with waiting
// ones, the last in part.
func TestSchedule(t *testing.T) {
	req := func(prompt int) *Request { return &Request{Prompt: make([]int, prompt), MaxTokens: 4} }
	a, b, c := req(3), req(10), req(2)
	waiting, running := []*Request{a, b, c}, []*Request(nil)
	require.Equal(t, 8, schedule(&running, &waiting, 8))
	require.Equal(t, []*Request{a, b}, running)
	require.Equal(t, []int{3, 5}, []int{a.next, b.next})

	a.seq, b.seq = &sequence{len: 3}, &sequence{len: 5}
	a.Output = []int{7}
	require.Equal(t, 8, schedule(&running, &waiting, 8))
	require.Equal(t, []*Request{a, b, c}, running)
	require.Equal(t, []int{1, 5, 2}, []int{a.next, b.next, c.next})
}

func TestSampling(t *testing.T) {
	logits := []float64{0, 2, 1, 2}
	require.Equal(t, 1, Sampling{}.choose(logits, nil), "the lowest of equal ones")
	nan := 0.0
	nan /= nan
	require.Equal(t, 2, argmax([]float64{5, 1, nan, 7}), "NaN before any number")

	count := func(s Sampling) [4]int {
		var n [4]int
		r := Request{Sampling: s}
		r.number(0)
		for range 20000 {
			n[s.choose(logits, r.rng)]++
		}
		return n
	}
	// exp(0), exp(2), exp(1), exp(2) over their sum 18.496: 1081, 7990, 2939,
	// 7990 of 20,000, with standard deviations of 32, 69, 50, 69.
	n := count(Sampling{Temperature: 1})
	for i, want := range []int{1081, 7990, 2939, 7990} {
		require.InDelta(t, want, n[i], 4*69, "token %d of %v", i, n)
	}
	n = count(Sampling{Temperature: 1, TopK: 2})
	require.Zero(t, n[0]+n[2])
	n = count(Sampling{Temperature: 1, TopP: 0.9}) // 2 x 0.40 + 0.15
	require.Zero(t, n[0])
	require.Positive(t, n[2])
	require.Equal(t, count(Sampling{Temperature: 0.5, Seed: 3}), count(Sampling{Temperature: 0.5, Seed: 3}))
	require.NotEqual(t, count(Sampling{Temperature: 0.5, Seed: 3}), count(Sampling{Temperature: 0.5, Seed: 4}))

	lp := logprobs(logits, 2, 2)
	require.Equal(t, []int{2, 1, 3}, []int{lp[0].Token, lp[1].Token, lp[2].Token})
	require.InDelta(t, 1-math.Log(1+2*math.Exp(2)+math.E), lp[0].Logprob, 1e-12)
}
