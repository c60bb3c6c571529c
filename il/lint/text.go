package lint

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/internal/terminal"
	"github.com/ilref/ilref/internal/texttab"
)

// Schema names the JSON form of a result. Names in it stay; new ones may come.
const Schema = "ildiff.lint/v1"

const (
	listed  = 10 // findings of one rule in the text
	leading = 3  // findings of one severity in a summary
)

// WriteText writes a table by severity, and a last line with the counts. Of
// many findings of one rule it shows the first.
func WriteText(w io.Writer, r *Result, color bool) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s: %s, %s, %s read (%s), %s checked\n", terminal.Printable(r.Dir), plural.Count(r.Checked.Steps, "step"), plural.Count(r.Checked.Calls, "module call"),
		plural.Count(r.Checked.Tensors, "tensor"), size(r.Checked.Bytes), identities(r.Checked.Identities))
	if len(r.Findings) > 0 {
		fmt.Fprintln(b)
		if err := table(r).Write(b, 0, color); err != nil {
			return err
		}
		fmt.Fprintln(b)
	}
	fmt.Fprintln(b, counts(r))
	return b.Flush()
}

func table(r *Result) *texttab.Table {
	t := &texttab.Table{Columns: []texttab.Column{{Title: "severity"}, {Title: "step", Right: true}, {Title: "rule"}, {Title: "finding"}}}
	style := map[Severity]texttab.Style{Error: texttab.Red, Warning: texttab.Yellow}
	type group struct {
		severity Severity
		rule     string
	}
	of := map[group]int{}
	for _, f := range r.Findings {
		of[group{f.Severity, f.Rule}]++
	}
	shown := map[group]int{}
	for _, f := range r.Findings {
		g := group{f.Severity, f.Rule}
		if shown[g]++; shown[g] > listed+1 {
			continue
		}
		step, text := "-", f.Message
		if f.Step >= 0 {
			step = strconv.Itoa(f.Step)
		}
		if shown[g] == listed+1 && of[g] > listed+1 {
			step, text = "", fmt.Sprintf("… and %d more (--format json lists all)", of[g]-listed)
		}
		t.Add(texttab.Cell{Text: string(f.Severity), Style: style[f.Severity]}, texttab.Cell{Text: step}, texttab.Cell{Text: f.Rule}, texttab.Cell{Text: text})
	}
	return t
}

func counts(r *Result) string {
	return fmt.Sprintf("%s, %s", plural.Count(r.Count(Error), "error"), plural.Count(r.Count(Warning), "warning"))
}

func identities(n int) string {
	if n == 1 {
		return "1 identity"
	}
	return fmt.Sprintf("%d identities", n)
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}

type jsonResult struct {
	Schema   string        `json:"schema"`
	Session  string        `json:"session"`
	Checked  jsonChecked   `json:"checked"`
	Findings []jsonFinding `json:"findings"`
	Errors   int           `json:"errors"`
	Warnings int           `json:"warnings"`
}

type jsonChecked struct {
	Steps      int   `json:"steps"`
	Calls      int   `json:"calls"`
	Tensors    int   `json:"tensors"`
	Bytes      int64 `json:"bytes"`
	Identities int   `json:"identities"`
}

// jsonFinding leaves out the call where the finding is of a step, and the step
// where it is of the session.
type jsonFinding struct {
	Severity  Severity `json:"severity"`
	Rule      string   `json:"rule"`
	Step      *int     `json:"step,omitempty"`
	Steps     []int    `json:"steps,omitempty"`
	Module    string   `json:"module,omitempty"`
	Call      *int     `json:"call,omitempty"`
	Direction string   `json:"direction,omitempty"`
	Slot      *string  `json:"slot,omitempty"`
	Message   string   `json:"message"`
}

// WriteJSON writes the result as one indented JSON object.
func WriteJSON(w io.Writer, r *Result) error {
	out := jsonResult{Schema: Schema, Session: r.Dir, Checked: jsonChecked(r.Checked), Findings: []jsonFinding{}, Errors: r.Count(Error), Warnings: r.Count(Warning)}
	for _, f := range r.Findings {
		j := jsonFinding{Severity: f.Severity, Rule: f.Rule, Steps: f.Steps, Module: f.Module, Direction: string(f.Direction), Message: f.Message}
		if f.Step >= 0 {
			j.Step = &f.Step
		}
		if f.Module != "" {
			j.Call = &f.Call
		}
		if f.Direction != "" {
			j.Slot = &f.Slot
		}
		out.Findings = append(out.Findings, j)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(out)
}

// Summary returns the lines that a comparison should print above its figures:
// none for a session without errors and warnings.
func Summary(r *Result) []string {
	if r.Count(Error)+r.Count(Warning) == 0 {
		return nil
	}
	out := []string{fmt.Sprintf("%s: the recording has %s (ildiff lint lists them)", r.Dir, counts(r))}
	shown := map[Severity]int{}
	for _, f := range r.Findings {
		if shown[f.Severity]++; f.Severity == Info || shown[f.Severity] > leading {
			continue
		}
		where := ""
		if f.Step >= 0 {
			where = fmt.Sprintf("step %d: ", f.Step)
		}
		out = append(out, fmt.Sprintf("%s: %s%s", f.Severity, where, f.Message))
	}
	return out
}
