package pairing

import (
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/topology"
)

// Tokens are the rows of a forward, as the target's positions and ids tell.
type Tokens struct{ Request, Position, Ids []int }

// TokensOf reads which token each row of a forward is: a new request begins
// where positions do not go on.
func TokensOf(f *Forward) *Tokens {
	c := f.Find(func(c *Call) bool {
		_, pos := TokenInputs(c)
		return pos != nil && c.Of.Kind != topology.Embedding
	})
	_, pos := TokenInputs(c)
	if pos == nil {
		return nil
	}
	t := &Tokens{Position: pos, Request: make([]int, len(pos))}
	for i := 1; i < len(pos); i++ {
		t.Request[i] = t.Request[i-1]
		if pos[i] != pos[i-1]+1 {
			t.Request[i]++
		}
	}
	if _, ids := TokenInputs(f.Find(IsEmbedding)); len(ids) == len(pos) {
		t.Ids = ids
	}
	return t
}

// NameTokens names the worst token of every tensor that has a row a token.
func NameTokens(fs []*Forward, text func(id int) string) {
	for _, f := range fs {
		var rows *Tokens // read where the first is wanted
		for _, c := range f.Calls {
			for _, p := range c.Slots {
				t := p.Result
				if t == nil || t.Gap.WorstToken == nil || t.Gap.Identical() || isLogits(c) {
					continue
				}
				if rows == nil {
					if rows = TokensOf(f); rows == nil {
						rows = &Tokens{}
					}
				}
				t.Token = rows.name(t, text)
			}
		}
	}
}

func (r *Tokens) name(t *report.TensorDiff, text func(id int) string) *report.Token {
	n, i := 1, t.Gap.WorstToken.Index
	for _, d := range t.Shape[:max(0, len(t.Shape)-1)] {
		n *= d
	}
	if n != len(r.Position) || i >= n {
		return nil
	}
	out := &report.Token{Request: r.Request[i], Position: r.Position[i]}
	if r.Ids != nil {
		id := r.Ids[i]
		out.ID = &id
		if text != nil {
			out.Text = text(id)
		}
	}
	return out
}
