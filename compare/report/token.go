package report

import (
	"fmt"
	"strconv"
)

// Token names a row of a tensor by what it stands for.
type Token struct {
	Request, Position int
	ID                *int   // nil where the session does not tell
	Text              string // "" without a tokenizer
}

// String is "request 0, position 7, token 42 "the"".
func (t *Token) String() string {
	s := fmt.Sprintf("request %d, position %d", t.Request, t.Position)
	if t.ID != nil {
		s += fmt.Sprintf(", token %d", *t.ID)
	}
	if t.Text != "" {
		s += " " + strconv.Quote(t.Text)
	}
	return s
}

// Where describes the worst row and column of a tensor, "" where neither tells
// more than the tensor.
func Where(t *TensorDiff) string {
	g, s := t.Gap, ""
	if g.Identical() || g.WorstToken == nil || t.Shape == nil {
		return ""
	}
	if g.WorstToken.Values < g.Values {
		s = fmt.Sprintf("worst token: row %d", g.WorstToken.Index)
		if t.Token != nil {
			s += " (" + t.Token.String() + ")"
		}
		s += ", rel_l2 " + Num(g.WorstToken.RelL2)
	}
	if w := g.WorstChannel; w != nil {
		if s != "" {
			s += "; "
		}
		s += fmt.Sprintf("worst channel: %d, rel_l2 %s", w.Index, Num(w.RelL2))
	}
	return s
}
