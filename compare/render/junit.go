package render

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ilref/ilref/compare/report"
)

// The elements that Jenkins, GitLab and Surefire read; testdata/junit.xsd has
// their schema. Text is chardata, never CDATA: encoding/xml replaces the
// characters that XML forbids in it.
type junitSuites struct {
	XMLName xml.Name `xml:"testsuites"`
	junitCounts
	Suites []junitSuite `xml:"testsuite"`
}

type junitCounts struct {
	Name     string `xml:"name,attr"`
	Tests    int    `xml:"tests,attr"`
	Failures int    `xml:"failures,attr"`
	Errors   int    `xml:"errors,attr"`
	Time     string `xml:"time,attr"` // seconds; always 0, so that equal reports give equal bytes
}

type junitSuite struct {
	junitCounts
	Skipped    int             `xml:"skipped,attr"` // Jenkins has it of a suite alone
	Properties []junitProperty `xml:"properties>property"`
	Cases      []*junitCase    `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Skipped *junitProblem `xml:"skipped"`
	Error   *junitProblem `xml:"error"`
	Failure *junitProblem `xml:"failure"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitProblem struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// JUnit writes the report as JUnit XML: a suite for the pair of sessions and a
// test case for every module call, in execution order. A gap is a failure; so
// are tensors that are missing or not comparable, unless the coverage asked for
// is reached without them, which makes them skipped, as those of forwards that
// ran other tokens always are. What cannot be read is an error. The last case
// is the verdict of the whole: it fails whenever ildiff's exit code is not 0.
func JUnit(w io.Writer, r *report.Report, o Options) error {
	s := junitSuite{Properties: junitProperties(r, o)}
	s.Name = "ildiff " + r.Reference.Dir + " " + r.Target.Dir
	problems := problemsByCall(&r.Coverage)
	unjudged := map[int]bool{}
	for _, x := range r.Workloads {
		unjudged[x.Forward] = true
	}
	for _, m := range r.Modules {
		s.Cases = append(s.Cases, junitCall(m, problems[callOf(m)], shortfall(r) != "" && !unjudged[m.Forward]))
	}
	s.Cases = append(s.Cases, junitLogprobs(r)...)
	s.Cases = append(s.Cases, junitVerdict(r))
	for _, c := range s.Cases {
		c.Time = "0"
		s.Tests++
		switch {
		case c.Error != nil:
			s.Errors++
		case c.Failure != nil:
			s.Failures++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
	s.Time = "0"
	all := junitSuites{junitCounts: s.junitCounts, Suites: []junitSuite{s}}
	all.Name = "ildiff"
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", " ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func junitProperties(r *report.Report, o Options) []junitProperty {
	out := []junitProperty{
		{"reference", r.Reference.Dir},
		{"target", r.Target.Dir},
		{"reference.dtypes", strings.Join(r.Reference.DTypes, " ")},
		{"target.dtypes", strings.Join(r.Target.DTypes, " ")},
		{"verdict", string(r.Verdict)},
		{"rule", string(r.Rule)},
	}
	for _, t := range tolerances(o.Bounds) {
		out = append(out, junitProperty{"tolerance." + t[0], t[1]})
	}
	out = append(out,
		junitProperty{"coverage.percent", fmt.Sprintf("%.4g", r.Coverage.Percent())},
		junitProperty{"coverage.min_percent", fmt.Sprintf("%.4g", r.MinCoverage)},
		junitProperty{"coverage.compared", fmt.Sprint(r.Coverage.Compared)},
		junitProperty{"coverage.tensors", fmt.Sprint(r.Coverage.Union())},
	)
	for _, f := range findings(r, o) {
		out = append(out, junitProperty{"lint." + f.Severity, f.Message})
	}
	for _, d := range r.Setup {
		out = append(out, junitProperty{"setup." + d.Name, d.Text})
	}
	return out
}

// callID names a call of a module.
type callID struct {
	step   int
	module string
	call   int
}

func callOf(m *report.CallDiff) callID         { return callID{m.Step, m.Module, m.Call} }
func callOfKey(k report.Key) callID            { return callID{k.Step, k.Module, k.Call} }
func callOfTensor(t *report.TensorDiff) callID { return callOfKey(t.Key) }

// callProblems are the tensors of a call that were not compared, a line each.
type callProblems struct{ missing, skipped, unreadable, excluded []string }

func problemsByCall(c *report.Coverage) map[callID]*callProblems {
	out := map[callID]*callProblems{}
	at := func(k report.Key) *callProblems {
		id := callOfKey(k)
		if out[id] == nil {
			out[id] = &callProblems{}
		}
		return out[id]
	}
	for _, k := range c.MissingInReference {
		at(k).missing = append(at(k).missing, report.SlotName(k)+" is missing in the reference")
	}
	for _, k := range c.MissingInTarget {
		at(k).missing = append(at(k).missing, report.SlotName(k)+" is missing in the target")
	}
	for _, p := range c.Skipped {
		at(p.Key).skipped = append(at(p.Key).skipped, report.SlotName(p.Key)+": "+p.Why)
	}
	for _, p := range c.Unreadable {
		at(p.Key).unreadable = append(at(p.Key).unreadable, report.SlotName(p.Key)+": "+p.Why)
	}
	for _, p := range c.Excluded {
		at(p.Key).excluded = append(at(p.Key).excluded, report.SlotName(p.Key)+": left out by the policy, "+p.Why)
	}
	for _, p := range c.Keywords {
		at(p.Key).excluded = append(at(p.Key).excluded, report.SlotName(p.Key)+": "+p.Why)
	}
	return out
}

// junitCall gives a call its worst outcome; the text lists all of them. asked
// says that what is missing should have been there.
func junitCall(m *report.CallDiff, p *callProblems, asked bool) *junitCase {
	c := &junitCase{Class: fmt.Sprintf("step_%d", m.Step), Name: m.Name(), Out: figures(m)}
	if p == nil {
		p = &callProblems{}
	}
	var gap []string
	if m.Verdict == report.Fail {
		gap = []string{m.Why}
		if m.Hint != "" {
			gap = append(gap, guess(m.Hint))
		}
	}
	absent := slices.Concat(p.missing, p.skipped)
	text := strings.Join(slices.Concat(gap, p.unreadable, absent, p.excluded), "\n")
	switch {
	case len(p.unreadable) > 0:
		c.Error = &junitProblem{p.unreadable[0], "unreadable", text}
	case len(gap) > 0:
		c.Failure = &junitProblem{m.Why, "gap", text}
	case len(absent) == 0 && m.Compared == 0 && len(p.excluded) > 0:
		c.Skipped = &junitProblem{Message: p.excluded[0], Text: text}
	case len(absent) == 0:
	case asked && len(p.missing) > 0:
		c.Failure = &junitProblem{p.missing[0], "missing", text}
	case asked:
		c.Failure = &junitProblem{p.skipped[0], "not compared", text}
	default:
		c.Skipped = &junitProblem{Message: absent[0], Text: text}
	}
	return c
}

// figures is a line with the worst gaps of a call.
func figures(m *report.CallDiff) string {
	var parts []string
	for _, t := range []*report.TensorDiff{m.Inputs, m.Outputs} {
		if t != nil {
			parts = append(parts, fmt.Sprintf("%s: rel_l2 %s, max_abs %s, 1-cos %s", report.SlotName(t.Key), report.RelL2(t), amount(t.Gap.MaxAbs, 3), report.Angle(t)))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%s)", strings.Join(parts, "; "), word(m.Verdict))
}

func junitVerdict(r *report.Report) *junitCase {
	c := &junitCase{Class: "ildiff", Name: "verdict", Out: "Coverage: " + coverage(&r.Coverage) + "."}
	switch {
	case r.ExitCode() == 0:
	case r.Verdict == report.Fail:
		c.Failure = &junitProblem{conclusion(r), "gap", conclusion(r)}
	default:
		c.Failure = &junitProblem{shortfall(r), "incomparable", conclusion(r)}
	}
	return c
}
