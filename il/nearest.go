package il

import (
	"maps"
	"slices"
)

// nearest returns the candidate with the smallest edit distance to s, or ""
// where more than half of it would have to change.
func nearest(s string, candidates []string) string {
	best, dist := "", len(s)/2+1
	for _, c := range candidates {
		if d := editDistance(s, c, false); d < dist {
			best, dist = c, d
		}
	}
	return best
}

// nearestWithin returns up to n candidates that hold what is most like s; none
// where more than a third of s would have to change.
func nearestWithin(s string, candidates []string, n int) []string {
	var found []string
	best := len(s) / 3
	for _, c := range candidates {
		d := editDistance(s, c, true)
		if d < best {
			best, found = d, nil
		}
		if d == best && len(found) < n {
			found = append(found, c)
		}
	}
	return found
}

// editDistance counts the bytes to insert, delete or replace to make a of b
// (Levenshtein), or of any part of b.
func editDistance(a, b string, part bool) int {
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

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
