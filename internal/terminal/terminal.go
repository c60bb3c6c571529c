// Package terminal tells what an output can show.
package terminal

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Is reports whether w is a terminal.
func Is(w io.Writer) bool {
	f := file(w)
	return f != nil && term.IsTerminal(int(f.Fd()))
}

// file returns the file that w writes to, nil where it is none.
func file(w io.Writer) *os.File {
	if u, ok := w.(interface{ Unwrap() io.Writer }); ok {
		return file(u.Unwrap())
	}
	f, _ := w.(*os.File)
	return f
}

// Width returns the columns of the terminal that w is, 0 where it is none.
func Width(w io.Writer) int {
	if !Is(w) {
		return 0
	}
	width, _, err := term.GetSize(int(file(w).Fd()))
	if err != nil {
		return 0
	}
	return width
}

// Color decides on colours for w: a given choice (always or never), else
// (auto) a terminal that is not dumb, unless NO_COLOR is set (no-color.org).
func Color(w io.Writer, choice string) bool {
	switch choice {
	case "always":
		return true
	case "never":
		return false
	}
	return Is(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
