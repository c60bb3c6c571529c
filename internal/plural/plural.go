package plural

import (
	"fmt"
)

// count writes "1 token", "2 tokens".
func Count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
