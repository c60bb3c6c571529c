package compare

import (
	"fmt"
	"strconv"

	"github.com/ilref/ilref/topology"
)

// Token names a row of a tensor by what it stands for.
type Token struct {
	Request, Position int
	ID                *int   // nil where the session does not tell
	Text              string // "" without a tokenizer
}

// tokens are the rows of a forward, as the target's positions and ids tell.
type tokens struct{ request, position, ids []int }

// tokensOf reads which token each row of a forward is: a new request begins
// where positions do not go on.
func tokensOf(f *forward) *tokens {
	c := f.find(func(c *call) bool {
		_, pos := tokenInputs(c)
		return pos != nil && c.of.Kind != topology.Embedding
	})
	_, pos := tokenInputs(c)
	if pos == nil {
		return nil
	}
	t := &tokens{position: pos, request: make([]int, len(pos))}
	for i := 1; i < len(pos); i++ {
		t.request[i] = t.request[i-1]
		if pos[i] != pos[i-1]+1 {
			t.request[i]++
		}
	}
	if _, ids := tokenInputs(f.find(isEmbedding)); len(ids) == len(pos) {
		t.ids = ids
	}
	return t
}

// nameTokens names the worst token of every tensor that has a row a token.
func nameTokens(fs []*forward, text func(id int) string) {
	for _, f := range fs {
		var rows *tokens // read where the first is wanted
		for _, c := range f.calls {
			for _, p := range c.slots {
				t := p.result
				if t == nil || t.Gap.WorstToken == nil || t.Gap.Identical() || isLogits(c) {
					continue
				}
				if rows == nil {
					if rows = tokensOf(f); rows == nil {
						rows = &tokens{}
					}
				}
				t.Token = rows.name(t, text)
			}
		}
	}
}

func (r *tokens) name(t *Tensor, text func(id int) string) *Token {
	n, i := 1, t.Gap.WorstToken.Index
	for _, d := range t.Shape[:max(0, len(t.Shape)-1)] {
		n *= d
	}
	if n != len(r.position) || i >= n {
		return nil
	}
	out := &Token{Request: r.request[i], Position: r.position[i]}
	if r.ids != nil {
		id := r.ids[i]
		out.ID = &id
		if text != nil {
			out.Text = text(id)
		}
	}
	return out
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

// where describes the worst row and column of a tensor, "" where neither tells
// more than the tensor.
func where(t *Tensor) string {
	g, s := t.Gap, ""
	if g.Identical() || g.WorstToken == nil || t.Shape == nil {
		return ""
	}
	if g.WorstToken.Values < g.Values {
		s = fmt.Sprintf("worst token: row %d", g.WorstToken.Index)
		if t.Token != nil {
			s += " (" + t.Token.String() + ")"
		}
		s += ", rel_l2 " + num(g.WorstToken.RelL2)
	}
	if w := g.WorstChannel; w != nil {
		if s != "" {
			s += "; "
		}
		s += fmt.Sprintf("worst channel: %d, rel_l2 %s", w.Index, num(w.RelL2))
	}
	return s
}
