package render

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/partial"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/shard"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/fixture"
)

// schemaNode is the part of JSON Schema 2020-12 that the report's schema uses;
// reading it refuses anything else.
type schemaNode struct {
	Schema               string                 `json:"$schema"`
	ID                   string                 `json:"$id"`
	Title                string                 `json:"title"`
	Description          string                 `json:"description"`
	Defs                 map[string]*schemaNode `json:"$defs"`
	Ref                  string                 `json:"$ref"`
	Type                 schemaTypes            `json:"type"`
	Const                any                    `json:"const"`
	Enum                 []string               `json:"enum"`
	Properties           map[string]*schemaNode `json:"properties"`
	Required             []string               `json:"required"`
	AdditionalProperties schemaMore             `json:"additionalProperties"`
	Pattern              string                 `json:"pattern"`
	Items                *schemaNode            `json:"items"`
	MinItems, MaxItems   *int
	Minimum, Maximum     *float64
}

type schemaTypes []string

func (s *schemaTypes) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*s = schemaTypes{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(s))
}

// schemaMore says what members without a name in the schema may be: false for
// none, or a schema for all.
type schemaMore struct {
	refused bool
	node    *schemaNode
}

func (m *schemaMore) UnmarshalJSON(b []byte) error {
	if string(b) == "false" {
		m.refused = true
		return nil
	}
	return json.Unmarshal(b, &m.node)
}

const (
	reportSchema = "ildiff.report.v1.schema.json"
	partSchema   = "ildiff.part.v1.schema.json"
)

func readSchema(t *testing.T, name string) *schemaNode {
	b, err := os.ReadFile("../../docs/" + name)
	require.NoError(t, err)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var s schemaNode
	require.NoError(t, d.Decode(&s))
	return &s
}

// check gives the first violation, with its JSON pointer.
func (s *schemaNode) check(root *schemaNode, at string, v any) error {
	if s.Ref != "" {
		def := root.Defs[strings.TrimPrefix(s.Ref, "#/$defs/")]
		if def == nil {
			return fmt.Errorf("%s: no %s", at, s.Ref)
		}
		return def.check(root, at, v)
	}
	kind := jsonType(v)
	if !slices.Contains(s.Type, kind) && !(kind == "integer" && slices.Contains(s.Type, "number")) {
		return fmt.Errorf("%s: is %s, want %v", at, kind, s.Type)
	}
	switch x := v.(type) {
	case string:
		if s.Const != nil && s.Const != x || s.Enum != nil && !slices.Contains(s.Enum, x) {
			return fmt.Errorf("%s: %q, want %v%v", at, x, s.Const, s.Enum)
		}
		if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(x) {
			return fmt.Errorf("%s: %q, want %s", at, x, s.Pattern)
		}
	case json.Number:
		if f, _ := x.Float64(); s.Minimum != nil && f < *s.Minimum || s.Maximum != nil && f > *s.Maximum {
			return fmt.Errorf("%s: %v is out of range", at, x)
		}
	case []any:
		if s.MinItems != nil && len(x) < *s.MinItems || s.MaxItems != nil && len(x) > *s.MaxItems {
			return fmt.Errorf("%s: %d items", at, len(x))
		}
		for i, e := range x {
			if err := s.Items.check(root, fmt.Sprintf("%s/%d", at, i), e); err != nil {
				return err
			}
		}
	case map[string]any:
		return s.checkObject(root, at, x)
	}
	return nil
}

func (s *schemaNode) checkObject(root *schemaNode, at string, x map[string]any) error {
	for _, name := range s.Required {
		if _, ok := x[name]; !ok {
			return fmt.Errorf("%s: lacks %q", at, name)
		}
	}
	for name, e := range x {
		p := s.Properties[name]
		switch {
		case p != nil:
			if err := p.check(root, at+"/"+name, e); err != nil {
				return err
			}
		case s.AdditionalProperties.refused:
			return fmt.Errorf("%s: %q is not in the schema", at, name)
		case s.AdditionalProperties.node != nil:
			if err := s.AdditionalProperties.node.check(root, at+"/"+name, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func jsonType(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case json.Number:
		if _, err := x.Int64(); err == nil {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

func decode(t *testing.T, b []byte) any {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	require.NoError(t, d.Decode(&v))
	return v
}

func checkSchema(t *testing.T, r *report.Report) {
	var b bytes.Buffer
	require.NoError(t, JSON(&b, r))
	s := readSchema(t, reportSchema)
	require.NoError(t, s.check(s, "", decode(t, b.Bytes())))
}

// Every object of the schemas names all its properties and allows no others.
func TestSchemaIsClosed(t *testing.T) {
	for name, format := range map[string]string{reportSchema: report.Schema, partSchema: partial.Schema} {
		s := readSchema(t, name)
		require.Equal(t, "https://json-schema.org/draft/2020-12/schema", s.Schema)
		require.Equal(t, format, s.Properties["schema"].Const)
		nodes := []*schemaNode{s}
		for _, d := range s.Defs {
			nodes = append(nodes, d)
		}
		for _, n := range nodes {
			if slices.Contains(n.Type, "object") {
				require.True(t, n.AdditionalProperties.refused, n.Description)
				for _, name := range n.Required {
					require.Contains(t, n.Properties, name)
				}
			}
		}
	}
}

// The parts of comparisons are as their schema says.
func TestPartSchema(t *testing.T) {
	s := readSchema(t, partSchema)
	for _, target := range []string{"llama3-gqa-bf16-fault-rope_theta", "llama3-gqa-bf16-tp2", "llama3-gqa-bf16-filtered"} {
		ref, err := il.Open(fixture.Session(t, "llama3-gqa-bf16"))
		require.NoError(t, err)
		target, err := il.Open(fixture.Session(t, target))
		require.NoError(t, err)
		p, err := compare.MeasurePart(context.Background(), ref, target, compare.Options{Evidence: compare.Evidence{Replay: ref, Oracle: target, Floor: ref}}, shard.Part{Index: 1, Count: 2})
		require.NoError(t, err)
		require.NotEmpty(t, p.Calls)
		p.Findings = []partial.Finding{{Severity: "error", Message: "m"}}
		p.Options = map[string]string{"steps": "0"}
		p.Calls[0].Slots[0].Tensor.Gap.RMSE = math.NaN()
		var b bytes.Buffer
		require.NoError(t, partial.Write(&b, p))
		require.NoError(t, s.check(s, "", decode(t, b.Bytes())))
		edited := strings.Replace(b.String(), `"rmse":"NaN"`, `"rmse":"none"`, 1)
		require.ErrorContains(t, s.check(s, "", decode(t, []byte(edited))), `/rmse: "none", want ^(NaN|-?Infinity)$`)
	}
}

// The check itself refuses what it must, and NaN and infinities fit.
func TestSchemaRefuses(t *testing.T) {
	checkSchema(t, evilReport())
	var b bytes.Buffer
	require.NoError(t, JSON(&b, evilReport()))
	s := readSchema(t, reportSchema)
	for edit, want := range map[[2]string]string{
		{`"verdict": "fail"`, `"verdict": "good"`}:                               `/verdict: "good", want`,
		{`"compared": 1`, `"compared": "1"`}:                                     "/coverage/compared: is string, want [integer]",
		{`"step": 3`, `"stepp": 3`}:                                              `lacks "step"`,
		{`"shape": [`, `"new": 1, "shape": [`}:                                   `/tensors/0: "new" is not in the schema`,
		{`"percent": 20`, `"percent": 120`}:                                      "/coverage/percent: 120 is out of range",
		{`"warnings": [`, `"warnings": [1, `}:                                    "/warnings/0: is integer, want [string]",
		{report.Schema, "ildiff.report/v2"}:                                      `/schema: "ildiff.report/v2"`,
		{`"first_divergence": {`, `"tensor": {`}:                                 `lacks "first_divergence"`,
		{`"shape": [`, `"shape": [-1, `}:                                         "/tensors/0/shape/0: -1 is out of range",
		{`"dtypes": [` + "\n    \"bf", `"dtypes": [` + "\"float32\",\n    \"bf"}: "/tensors/0/dtypes: 3 items",
	} {
		edited := strings.Replace(b.String(), edit[0], edit[1], 1)
		if edit[0] == `"step": 3` || edit[0] == `"first_divergence": {` {
			edited = strings.ReplaceAll(b.String(), edit[0], edit[1])
		}
		require.NotEqual(t, b.String(), edited, edit[0])
		require.ErrorContains(t, s.check(s, "", decode(t, []byte(edited))), want)
	}
}
