// Package policy reads and writes the policy files of ildiff --policy: ordered
// rules in YAML, the first that matches a tensor decides how it is judged.
//
//	version: 1
//	rules:
//	  - module: '\.rotary_emb$'   # Python regex, found anywhere in the name
//	    skip: true
//	    reason: the kernel works in place
//	  - module: '\.attn$'
//	    direction: outputs        # inputs, outputs or post_fwd_inputs
//	    dtype: [bfloat16, float16]
//	    slot: ""
//	    max_rel_l2: 0.012
//	  - judge: default            # all others, as without a policy
//	logprobs:                     # bounds of the tokens that were run
//	  max_abs_log_ratio: 0.5
package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/internal/nearest"
	"github.com/ilref/ilref/internal/sidefile"
)

// Version is the version of the format that is read and written.
const Version = 1

// maxSize bounds a policy file; a rule takes some 200 bytes.
const maxSize = 4 << 20

// Load reads a policy file. Its errors name the file, line and column.
func Load(path string) (*report.Policy, error) {
	data, err := sidefile.ReadNamed(path, maxSize)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return Parse(path, data)
}

// Parse reads the text of a policy; name is what errors and rules call it.
func Parse(name string, data []byte) (*report.Policy, error) {
	p := &parser{name: name}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := d.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF), err == nil && len(doc.Content) == 0:
		return nil, fmt.Errorf("%s: is empty, want version: 1 and rules", name)
	case err != nil:
		return nil, p.syntax(err)
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, p.syntax(err)
		}
		return nil, p.errorAt(&more, "a second document, want one policy a file")
	}
	return p.policy(doc.Content[0])
}

// parser keeps the name for errors.
type parser struct{ name string }

func (p *parser) errorAt(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s:%d:%d: %s", p.name, n.Line, n.Column, fmt.Sprintf(format, args...))
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax gives an error of the YAML reader the form of ours.
func (p *parser) syntax(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		at := p.name
		if m[1] != "" {
			at += ":" + m[1]
		}
		return fmt.Errorf("%s: not YAML: %s", at, text[len(m[0]):])
	}
	return fmt.Errorf("%s: not YAML: %s", p.name, text)
}

func (p *parser) policy(n *yaml.Node) (*report.Policy, error) {
	var rules *yaml.Node
	version := false
	out := &report.Policy{}
	err := p.mapping(n, "a policy", []string{"version", "rules", "logprobs"}, func(key, value *yaml.Node) (err error) {
		switch key.Value {
		case "rules":
			rules = value
			return nil
		case "logprobs":
			out.Logprobs, err = p.logprobs(value)
			return err
		}
		version = true
		if value.Kind != yaml.ScalarNode || value.Value != fmt.Sprint(Version) {
			return p.errorAt(value, "version %s, but this ildiff reads version %d", shown(value), Version)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case !version:
		return nil, p.errorAt(n, "no version, want version: %d", Version)
	case rules == nil && out.Logprobs != nil:
		return out, nil
	case rules == nil:
		return nil, p.errorAt(n, "no rules")
	case rules.Kind != yaml.SequenceNode || len(rules.Content) == 0:
		return nil, p.errorAt(rules, "rules: want a list of rules, with one at least")
	}
	for _, r := range rules.Content {
		rule, err := p.rule(r)
		if err != nil {
			return nil, err
		}
		out.Rules = append(out.Rules, *rule)
	}
	return out, nil
}

// mapping visits the keys of a mapping, which must be known and stand once.
func (p *parser) mapping(n *yaml.Node, what string, known []string, visit func(key, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return p.errorAt(n, "want %s with the keys %s, found %s", what, strings.Join(known, ", "), shown(n))
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case !slices.Contains(known, key.Value):
			if near := nearest.To(key.Value, known); near != "" {
				return p.errorAt(key, "unknown key %q, did you mean %q?", key.Value, near)
			}
			return p.errorAt(key, "unknown key %q, want one of %s", key.Value, strings.Join(known, ", "))
		case seen[key.Value]:
			return p.errorAt(key, "key %q stands twice", key.Value)
		case value.Kind == yaml.AliasNode:
			return p.errorAt(value, "%s: write the value out, aliases are not read", key.Value)
		}
		seen[key.Value] = true
		if err := visit(key, value); err != nil {
			return err
		}
	}
	return nil
}

// shown names what stands at a node, for errors.
func shown(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return fmt.Sprintf("%q", n.Value)
}
