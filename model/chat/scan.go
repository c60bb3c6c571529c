package chat

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/nikolalohinski/gonja/v2/tokens"
)

// The library's parser and evaluator recurse on nesting, with some 16 KB of
// stack a level, and a Go program does not survive the end of its stack.
const (
	maxNesting = 64   // open brackets, and open statements
	maxTokens  = 4096 // of an expression or statement
)

// sameLine is white space between two tags, where the second says nothing of
// what is before it.
var sameLine = regexp.MustCompile(`([^-][%}#]\})([ \t]+)(\{[%#])([^-+])`)

// prepare checks a template's tokens before it is parsed. Of white space
// between two tags of a line the library takes for indentation what Jinja
// keeps; a «+» in the second tag tells both to keep it.
func prepare(template string) (string, error) {
	literals, err := scan(template)
	if err != nil {
		return "", err
	}
	kept := sameLine.ReplaceAllString(template, "$1$2$3+$4")
	if kept != template {
		if same, err := scan(kept); err != nil || same != literals {
			return "", errors.New("a text in it looks like tags with white space between them, which is not supported")
		}
	}
	return kept, nil
}

// scan returns the texts that a template has between quotes.
func scan(template string) (string, error) {
	var literals strings.Builder
	stream := tokens.LexAll(template, settings())
	brackets, blocks, count := 0, 0, 0
	for ; !stream.End(); stream.Next() {
		t := stream.Current()
		count++
		switch t.Type {
		case tokens.Multiply, tokens.Power, tokens.Division, tokens.FloorDivision:
			// A short template makes a text of any size with «*», and the
			// library divides otherwise than Python.
			return "", fmt.Errorf("line %d: the operator %s is not supported", t.Line, t.Val)
		case tokens.String:
			literals.WriteString(t.Val + "\x00")
		case tokens.Data, tokens.VariableBegin, tokens.BlockBegin:
			brackets, count = 0, 0
			if next := stream.Peek(); t.Type == tokens.BlockBegin && next != nil {
				blocks += nesting(next.Val)
			}
		case tokens.LeftParenthesis, tokens.LeftBracket, tokens.LeftBrace:
			if next := stream.Peek(); t.Type == tokens.LeftBrace && next != nil && next.Type == tokens.RightBrace {
				return "", fmt.Errorf("line %d: an empty {} is not supported", t.Line) // the library takes it for true
			}
			brackets++
		case tokens.RightParenthesis, tokens.RightBracket, tokens.RightBrace:
			brackets--
		}
		if brackets > maxNesting || blocks > maxNesting || count > maxTokens {
			return "", fmt.Errorf("line %d: the template is nested too deeply, or a statement of it is too long", t.Line)
		}
	}
	if t := stream.Current(); t.Type == tokens.Error {
		return "", fmt.Errorf("not readable as a template: %s", oneLine(t.Val))
	}
	return literals.String(), nil
}

// nesting is what a statement adds to the depth of statements.
func nesting(name string) int {
	switch {
	case name == "if" || name == "for" || name == "generation":
		return 1
	case strings.HasPrefix(name, "end") && name != "endset":
		return -1
	}
	return 0 // set too, as most have no end
}
