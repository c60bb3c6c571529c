package model

import "math"

// nearest returns the candidate with the smallest edit distance to name, or ""
// where more than half of each would have to change.
func nearest(name string, candidates []string) string {
	best, found := math.MaxInt, ""
	for _, c := range candidates {
		if d := editDistance(name, c); d < best && 2*d <= max(len(name), len(c)) {
			best, found = d, c
		}
	}
	return found
}

// editDistance counts the bytes to insert, delete or replace (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diag
			if a[i] != b[j] {
				change++
			}
			diag = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
