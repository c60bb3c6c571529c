// Package progress shows how far a long task is: one line that is rewritten on
// a terminal, and a log line now and then elsewhere.
package progress

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ilref/ilref/internal/terminal"
)

const (
	barWidth    = 30
	barInterval = 100 * time.Millisecond
	logInterval = 10 * time.Second
)

// Line reports the progress of one task.
type Line struct {
	w        io.Writer
	terminal bool
	started  time.Time
	last     time.Time
	drawn    bool
}

// New makes a Line on w, usually standard error.
func New(w io.Writer) *Line {
	now := time.Now()
	return &Line{w: w, terminal: terminal.Is(w), started: now, last: now}
}

// Update says that done of total units are done, and what is going on.
func (l *Line) Update(done, total int, what string) {
	now := time.Now()
	interval := logInterval
	if l.terminal {
		interval = barInterval
	}
	if now.Sub(l.last) < interval {
		return
	}
	l.last = now
	elapsed := now.Sub(l.started).Round(time.Second)
	if !l.terminal {
		fmt.Fprintf(l.w, "%s: %d of %d after %s\n", what, done, total, elapsed)
		return
	}
	filled := barWidth * min(done, total) / max(total, 1)
	fmt.Fprintf(l.w, "\r\x1b[K[%s%s] %d/%d %s %s", strings.Repeat("=", filled), strings.Repeat(" ", barWidth-filled), done, total, what, elapsed)
	l.drawn = true
}

// Done removes the line from a terminal.
func (l *Line) Done() {
	if l.drawn {
		fmt.Fprint(l.w, "\r\x1b[K")
		l.drawn = false
	}
}
