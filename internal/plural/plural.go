// Package plural counts and lists in words.
package plural

import (
	"fmt"
	"strings"
)

// Count writes "1 token", "2 tokens".
func Count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// First lists the first n names.
func First(names []string, n int) string {
	if len(names) <= n {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:n], ", "), len(names)-n)
}
