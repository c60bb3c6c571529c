package render

import (
	"encoding/xml"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/report"
)

// node is an element as a parser sees it.
type node struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []*node    `xml:",any"`
}

func (n *node) attr(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (n *node) all(name string) (out []*node) {
	for _, c := range n.Children {
		if c.XMLName.Local == name {
			out = append(out, c)
		}
		out = append(out, c.all(name)...)
	}
	return out
}

func (n *node) child(name string) *node {
	for _, c := range n.Children {
		if c.XMLName.Local == name {
			return c
		}
	}
	return nil
}

func parseJUnit(t *testing.T, s string) *node {
	t.Helper()
	require.True(t, utf8.ValidString(s))
	d := xml.NewDecoder(strings.NewReader(s)) // strict
	var n node
	require.NoError(t, d.Decode(&n))
	validate(t, readXSD(t), &n)
	return &n
}

// xsd is the part of XML Schema that testdata/junit.xsd uses.
type xsd struct {
	Elements []struct {
		Name    string `xml:"name,attr"`
		Complex struct {
			Mixed    bool `xml:"mixed,attr"`
			Sequence struct {
				Elements []struct {
					Ref string `xml:"ref,attr"`
					Min string `xml:"minOccurs,attr"`
					Max string `xml:"maxOccurs,attr"`
				} `xml:"element"`
			} `xml:"sequence"`
			Attributes []struct {
				Name string `xml:"name,attr"`
				Type string `xml:"type,attr"`
				Use  string `xml:"use,attr"`
			} `xml:"attribute"`
		} `xml:"complexType"`
	} `xml:"element"`
}

func readXSD(t *testing.T) *xsd {
	b, err := os.ReadFile("testdata/junit.xsd")
	require.NoError(t, err)
	var x xsd
	require.NoError(t, xml.Unmarshal(b, &x))
	return &x
}

var xsdTypes = map[string]*regexp.Regexp{
	"xs:string":             regexp.MustCompile(`(?s)^.*$`),
	"xs:nonNegativeInteger": regexp.MustCompile(`^\d+$`),
	"xs:decimal":            regexp.MustCompile(`^-?\d+(\.\d+)?$`),
}

func validate(t *testing.T, x *xsd, n *node) {
	t.Helper()
	for _, e := range x.Elements {
		if e.Name != n.XMLName.Local {
			continue
		}
		known := map[string]bool{}
		for _, a := range e.Complex.Attributes {
			known[a.Name] = true
			require.Contains(t, xsdTypes, a.Type)
			given := false
			for _, got := range n.Attrs {
				if got.Name.Local == a.Name {
					given = true
					require.Regexp(t, xsdTypes[a.Type], got.Value, "%s/@%s", e.Name, a.Name)
				}
			}
			require.True(t, given || a.Use != "required", "%s lacks @%s", e.Name, a.Name)
		}
		for _, got := range n.Attrs {
			require.True(t, known[got.Name.Local], "%s has @%s", e.Name, got.Name.Local)
		}
		if !e.Complex.Mixed {
			require.Empty(t, strings.TrimSpace(n.Text), e.Name)
		}
		rest := n.Children
		for _, s := range e.Complex.Sequence.Elements {
			count := 0
			for len(rest) > 0 && rest[0].XMLName.Local == s.Ref {
				validate(t, x, rest[0])
				rest, count = rest[1:], count+1
			}
			require.True(t, s.Max == "unbounded" || count <= 1, "%d %s in %s", count, s.Ref, e.Name)
			require.True(t, s.Min == "0" || count > 0, "no %s in %s", s.Ref, e.Name)
		}
		require.Empty(t, rest, "in %s", e.Name)
		return
	}
	require.Fail(t, "unknown element "+n.XMLName.Local)
}

// checkJUnit: the report is valid, its counts are those of its cases, and it
// fails exactly when ildiff does.
func checkJUnit(t *testing.T, r *report.Report, s string) {
	n := parseJUnit(t, s)
	cases := n.all("testcase")
	more := 1 // the verdict
	if len(logprobLines(r.Logprobs)) > 0 {
		more++
	}
	require.Len(t, cases, len(r.Modules)+more)
	for attr, element := range map[string]string{"failures": "failure", "errors": "error", "skipped": "skipped"} {
		require.Equal(t, strconv.Itoa(len(n.all(element))), n.Children[0].attr(attr), attr)
		if attr != "skipped" {
			require.Equal(t, n.attr(attr), n.Children[0].attr(attr))
		}
	}
	require.Equal(t, strconv.Itoa(len(cases)), n.attr("tests"))
	require.Equal(t, r.ExitCode() != 0, len(n.all("failure"))+len(n.all("error")) > 0)
	for i, m := range r.Modules {
		require.Equal(t, "step_"+strconv.Itoa(m.Step), cases[i].attr("classname"))
		require.Equal(t, m.Name(), cases[i].attr("name"))
		f := cases[i].child("failure")
		require.Equal(t, m.Verdict == report.Fail, f != nil && f.attr("type") == "gap", m.Name())
	}
}

func TestJUnitOutcomes(t *testing.T) {
	find := func(n *node, class, name string) *node {
		for _, c := range n.all("testcase") {
			if c.attr("classname") == class && c.attr("name") == name {
				return c
			}
		}
		require.Fail(t, "no case "+name)
		return nil
	}
	junit := func(reference, target string, o compare.Options) *node {
		r, opts := compared(t, reference, target, o)
		return parseJUnit(t, written(t, JUnit, r, opts))
	}
	const l = "llama3-gqa-bf16"

	n := junit(l, l+"-fault-row_scale", compare.Options{})
	f := find(n, "step_0", "model.layers.0.self_attn.o_proj").child("failure")
	require.Contains(t, f.attr("message"), "inputs agree to the bit, outputs do not: rel_l2 2.0e-02")
	require.True(t, strings.HasPrefix(f.Text, f.attr("message")))
	require.Contains(t, find(n, "ildiff", "verdict").child("failure").attr("message"), "First divergence: step 0, model.layers.0.self_attn.o_proj")

	n = junit(l, l+"-filtered", compare.Options{})
	f = find(n, "step_0", "model.layers.0").child("failure")
	require.Equal(t, "input 0 is missing in the target", f.attr("message"))
	require.Equal(t, "missing", f.attr("type"))
	require.Equal(t, 4, strings.Count(f.Text, "missing in the target"))
	f = find(n, "ildiff", "verdict").child("failure")
	require.Equal(t, "22.4 % of the tensors were compared, 100 % are asked for", f.attr("message"))

	n = junit(l, l+"-filtered", compare.Options{MinCoverage: new(20.)})
	require.NotNil(t, find(n, "step_0", "model.layers.0").child("skipped"))

	n = junit(l+"-max1000", l+"-max1000", compare.Options{})
	require.Equal(t, "not compared", find(n, "step_0", "model.layers.0.mlp.gate_up_proj").child("failure").attr("type"))

	n = junit(l, l+"-fault-rope_theta", compare.Options{})
	require.Contains(t, find(n, "step_2", "model.layers.1.mlp").child("skipped").Text, "other tokens")

	n = junit(l, l+"-splitk", compare.Options{Bounds: report.Bounds{MaxRelL2: new(1e-3), RTol: new(.5)}})
	properties := map[string]string{}
	for _, p := range n.all("property") {
		properties[p.attr("name")] = p.attr("value")
	}
	require.Equal(t, "0.001", properties["tolerance.max_rel_l2"])
	require.Equal(t, "0.5", properties["tolerance.rtol"])
	require.Equal(t, "bounds", properties["rule"])
	require.Equal(t, "100", properties["coverage.percent"])
	require.Equal(t, l, properties["reference"])
}

// What a policy leaves out is skipped where nothing else of the call was
// compared, and fails no one.
func TestJUnitExcluded(t *testing.T) {
	r, _ := compared(t, "llama3-gqa-bf16", "llama3-gqa-bf16-splitk", compare.Options{Modules: []string{`layers\.0\.mlp`}, Policy: &report.Policy{
		Rules: []report.PolicyRule{{At: "p.yaml:3", Slot: new(""), Skip: true, Reason: "not ours"}, {At: "p.yaml:4", Slot: new("0"), Skip: true, Reason: "nor this"}},
	}})
	s := written(t, JUnit, r, Options{})
	n := parseJUnit(t, s)
	require.NotEmpty(t, n.all("skipped"))
	require.Contains(t, n.all("skipped")[0].Text, "left out by the policy, ")
	require.Contains(t, written(t, Markdown, r, Options{}), "left out by the policy")
}

// Text that XML cannot hold, or that is markup, stays text.
func TestJUnitEscapes(t *testing.T) {
	s := written(t, JUnit, evilReport(), Options{Lint: []Finding{{"error", evil}}})
	require.NotContains(t, s, "CDATA")
	n := parseJUnit(t, s)
	e := n.all("error")
	require.Len(t, e, 1, "unreadable comes before the gap")
	require.Equal(t, "unreadable", e[0].attr("type"))
	require.Contains(t, e[0].Text, "a<script>alert(1)</script>&amp;\"'|`b`")
	require.Contains(t, e[0].Text, "\ufffd\ufffd[31m", "NUL and ESC")
}
