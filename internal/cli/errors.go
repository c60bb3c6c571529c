package cli

import (
	"strings"

	"github.com/ilref/ilref/internal/terminal"
)

// OneLine joins the lines of an error, cobra's suggestions among them, for a
// terminal.
func OneLine(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return terminal.Printable(strings.Join(lines, " "))
}
