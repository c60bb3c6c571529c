// Package nearest finds what a wrong name may have meant.
package nearest

import (
	"math"
	"slices"
)

// To returns the candidate with the smallest edit distance to name, or ""
// where more than half of each would have to change.
func To(name string, candidates []string) string {
	best, found := math.MaxInt, ""
	for _, c := range candidates {
		if d := distance(name, c, false); d < best && 2*d <= max(len(name), len(c)) {
			best, found = d, c
		}
	}
	return found
}

// Holding returns up to n candidates that hold what is most like part; none
// where more than a third of part would have to change.
func Holding(part string, candidates []string, n int) []string {
	var found []string
	best := len(part) / 3
	for _, c := range candidates {
		d := distance(part, c, true)
		if d < best {
			best, found = d, nil
		}
		if d == best && len(found) < n {
			found = append(found, c)
		}
	}
	return found
}

// distance counts the bytes to insert, delete or replace to make a of b
// (Levenshtein), or of any part of b.
func distance(a, b string, part bool) int {
	prev, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		if !part {
			prev[j] = j
		}
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			change := prev[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, prev[j+1]+1, row[j]+1)
		}
		prev, row = row, prev
	}
	if part {
		return slices.Min(prev)
	}
	return prev[len(b)]
}
