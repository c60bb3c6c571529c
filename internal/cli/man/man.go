// Package man writes manual pages of cobra's commands, in the macros of man(7).
// It is used by a test of each program alone.
package man

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ilref/ilref/internal/cli"
)

// Pages returns a page for each command, by the name of its file.
func Pages(root *cobra.Command) map[string]string {
	out := map[string]string{}
	for _, cmd := range cli.Commands(root) {
		out[name(cmd)+".1"] = page(cmd)
	}
	return out
}

// name is a command's name among manual pages: ildiff-baseline-save.
func name(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func page(cmd *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".\\\" written from %s --help\n.TH %s 1 \"\" \"ilref\" \"User Commands\"\n", cmd.CommandPath(), quoted(strings.ToUpper(name(cmd))))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", escape(name(cmd)), escape(cmd.Short))
	b.WriteString(".SH SYNOPSIS\n")
	synopsis(&b, cmd)
	b.WriteString(".SH DESCRIPTION\n")
	prose(&b, cmd.Long)
	options(&b, cmd)
	if cmd.Example != "" {
		b.WriteString(".SH EXAMPLES\n")
		verbatim(&b, strings.Split(cmd.Example, "\n"))
	}
	seeAlso(&b, cmd)
	return b.String()
}

func synopsis(b *strings.Builder, cmd *cobra.Command) {
	words := strings.Fields(cmd.Use)[1:]
	fmt.Fprintf(b, ".B %s\n", quoted(cmd.CommandPath()))
	if cmd.HasAvailableLocalFlags() && !strings.Contains(cmd.Use, "[flags]") {
		words = append(words, "[flags]")
	}
	if len(words) > 0 {
		fmt.Fprintln(b, text(strings.Join(words, " ")))
	}
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			fmt.Fprintf(b, ".br\n.B %s\n…\n", quoted(c.CommandPath()))
		}
	}
}

// prose writes paragraphs; lines that begin with a space are as they are.
func prose(b *strings.Builder, s string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(s), "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		var lines []string // indented, not written yet
		for line := range strings.SplitSeq(paragraph, "\n") {
			if strings.HasPrefix(line, " ") {
				lines = append(lines, line)
				continue
			}
			verbatim(b, lines)
			lines = nil
			fmt.Fprintln(b, text(line))
		}
		verbatim(b, lines)
	}
}

// verbatim writes lines without filling them, less the indent that all share.
func verbatim(b *strings.Builder, lines []string) {
	if len(lines) == 0 {
		return
	}
	b.WriteString(".RS 4\n.nf\n")
	for _, line := range lines {
		fmt.Fprintln(b, text(strings.TrimPrefix(line, "  ")))
	}
	b.WriteString(".fi\n.RE\n")
}

func options(b *strings.Builder, cmd *cobra.Command) {
	if !cmd.HasAvailableLocalFlags() {
		return
	}
	b.WriteString(".SH OPTIONS\n")
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		names := `\fB` + escape("--"+f.Name) + `\fR`
		if f.Shorthand != "" {
			names = `\fB` + escape("-"+f.Shorthand) + `\fR, ` + names
		}
		if value != "" {
			names += ` \fI` + escape(value) + `\fR`
		}
		if d := f.DefValue; d != "" && d != "0" && d != "false" && d != "[]" && !strings.Contains(usage, "default") {
			usage += fmt.Sprintf(" (default %s)", d)
		}
		fmt.Fprintf(b, ".TP\n%s\n%s\n", names, text(usage))
	})
}

func seeAlso(b *strings.Builder, cmd *cobra.Command) {
	var refs []string
	if cmd.HasParent() {
		refs = append(refs, name(cmd.Parent()))
	}
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			refs = append(refs, name(c))
		}
	}
	if len(refs) == 0 {
		return
	}
	b.WriteString(".SH SEE ALSO\n")
	for i, r := range refs {
		comma := ","
		if i == len(refs)-1 {
			comma = ""
		}
		fmt.Fprintf(b, ".BR %s (1)%s\n", escape(r), comma)
	}
}

// escape makes text what roff prints as it stands: a bare - would be a hyphen,
// and ' and ` quotation marks.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "~", `\(ti`, "^", `\(ha`).Replace(s)
}

// quoted is an argument of a macro.
func quoted(s string) string { return `"` + strings.ReplaceAll(escape(s), `"`, `\(dq`) + `"` }

// text is a line of text: a dot at its beginning would be a request.
func text(s string) string {
	s = escape(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
