// Package texttab lays out tables for a terminal: columns as wide as their
// widest cell, two spaces apart, never cut. Numbers align right; what a terminal
// would obey is escaped.
package texttab

import (
	"io"
	"strings"
	"unicode/utf8"

	"github.com/ilref/ilref/internal/terminal"
)

// Style is a colour of a terminal (SGR, ECMA-48 8.3.117).
type Style string

// The styles, as parameters of the escape sequence.
const (
	Plain  Style = ""
	Bold   Style = "1"
	Dim    Style = "2"
	Red    Style = "1;31"
	Green  Style = "32"
	Yellow Style = "33"
)

// Paint wraps s in the escape sequences of a style.
func Paint(s string, style Style) string {
	if style == Plain || s == "" {
		return s
	}
	return "\x1b[" + string(style) + "m" + s + "\x1b[0m"
}

// Cell is one cell of a table.
type Cell struct {
	Text  string
	Style Style
}

// Column describes a column. Of the columns with a Priority the ones with the
// highest numbers are left out until the table fits its width.
type Column struct {
	Title    string
	Right    bool // align right
	Priority int  // 0: always shown
}

// Table is a header and rows. A row with Span is one text across all columns
// after the first.
type Table struct {
	Columns []Column
	Rows    []Row
}

// Row is a line of a table: one cell a column, or the first cell and a text.
type Row struct {
	Cells []Cell
	Span  bool
}

// Add appends a row with one cell a column.
func (t *Table) Add(cells ...Cell) { t.Rows = append(t.Rows, Row{Cells: cells}) }

// AddSpan appends a row whose second cell runs across the other columns.
func (t *Table) AddSpan(first, text Cell) {
	t.Rows = append(t.Rows, Row{Cells: []Cell{first, text}, Span: true})
}

const gap = "  "

// Write lays the table out. width 0 is unlimited; color false leaves out the
// styles.
func (t *Table) Write(w io.Writer, width int, color bool) error {
	widths := t.widths()
	show := t.fit(widths, width)
	header := make([]Cell, len(t.Columns))
	for i, c := range t.Columns {
		header[i] = Cell{c.Title, Bold}
	}
	var b strings.Builder
	for _, r := range append([]Row{{Cells: header}}, t.Rows...) {
		t.writeRow(&b, r, widths, show, color)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *Table) widths() []int {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = utf8.RuneCountInString(c.Title)
	}
	for _, r := range t.Rows {
		for i, c := range r.Cells {
			if !r.Span || i == 0 {
				widths[i] = max(widths[i], utf8.RuneCountInString(terminal.Printable(c.Text)))
			}
		}
	}
	return widths
}

// fit chooses the columns to show.
func (t *Table) fit(widths []int, width int) []bool {
	show := make([]bool, len(t.Columns))
	total := -len(gap)
	lowest := 0
	for i, c := range t.Columns {
		show[i] = true
		total += widths[i] + len(gap)
		lowest = max(lowest, c.Priority)
	}
	for ; width > 0 && total > width && lowest > 0; lowest-- {
		for i, c := range t.Columns {
			if c.Priority == lowest {
				show[i] = false
				total -= widths[i] + len(gap)
			}
		}
	}
	return show
}

func (t *Table) writeRow(b *strings.Builder, r Row, widths []int, show []bool, color bool) {
	pending := 0 // spaces that are only written before more text
	for i, c := range r.Cells {
		if !show[i] {
			continue
		}
		c.Text = terminal.Printable(c.Text)
		pad := max(0, widths[i]-utf8.RuneCountInString(c.Text))
		if r.Span && i > 0 {
			pad = 0
		}
		if t.Columns[i].Right {
			pending, pad = pending+pad, 0
		}
		if c.Text != "" {
			b.WriteString(strings.Repeat(" ", pending))
			pending = 0
			if color {
				b.WriteString(Paint(c.Text, c.Style))
			} else {
				b.WriteString(c.Text)
			}
		}
		pending += pad + len(gap)
	}
	b.WriteByte('\n')
}
