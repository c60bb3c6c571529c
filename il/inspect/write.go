package inspect

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/tensor"
)

// WriteJSON writes the report as one JSON object, a line for each tensor.
func (r *Report) WriteJSON(w io.Writer) error {
	b := bufio.NewWriter(w)
	file, err := json.Marshal(r.File)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "{\"file\": %s, \"tensors\": [", file)
	for i := range r.Tensors {
		line, err := json.Marshal(&r.Tensors[i], jsontext.SpaceAfterColon(true), jsontext.SpaceAfterComma(true))
		if err != nil {
			return err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.Write(line)
	}
	fmt.Fprint(b, "\n]}\n")
	return b.Flush()
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s: %s\n", printable(r.File), plural.Count(len(r.Tensors), "tensor"))
	for i := range r.Tensors {
		r.Tensors[i].writeText(b)
	}
	return b.Flush()
}

func (t *Tensor) writeText(b *bufio.Writer) {
	path := printable(t.Path)
	if path == "" {
		path = "(bare tensor)"
	}
	fmt.Fprintf(b, "\n%s\n  %s %s  stride %s  offset %d  %s  device %s\n", path, t.DType, tensor.ShapeString(t.Shape),
		tensor.ShapeString(t.Stride), t.StorageOffset, plural.Count(t.Numel, "element"), t.Device)
	if len(t.values) > 0 {
		more := ""
		if t.Numel > len(t.values) {
			more = " …"
		}
		fmt.Fprintf(b, "  values  %s%s\n", strings.Join(t.values, "  "), more)
	}
	if t.note != "" {
		fmt.Fprintf(b, "  %s\n", t.note)
		return
	}
	if t.NaN != nil {
		b.WriteString("  ")
		for _, x := range []struct {
			name  string
			value *float64
		}{{"min", t.Min}, {"max", t.Max}, {"mean", t.Mean}, {"std", t.Std}} {
			if x.value != nil {
				fmt.Fprintf(b, "%s %s  ", x.name, number(*x.value))
			}
		}
		fmt.Fprintf(b, "nan %d  inf %d\n", *t.NaN, *t.Inf)
	}
	fmt.Fprintf(b, "  sha256  %s\n", *t.SHA256)
}

// printable quotes a string with characters that would upset a terminal.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
