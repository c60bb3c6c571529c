package pairing

import (
	"slices"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/topology"
)

// Tokens are the rows of a forward: the request of each, in order of
// appearance in the session (-1 for padding), its position and its id.
type Tokens struct {
	Request, Position []int
	Ids               []int        // nil where the session does not tell
	Cuts              map[int]bool // positions at which one session, as it was run, begins a chunk and the other does not
}

// ReadRows gives every forward its rows, by the layout of the target, or of the
// reference where the target tells none; both have the same rows. Where neither does,
// told may (normalize.Notes), nil for none. Raw are the sessions as they were run,
// which may be in other chunks.
//
// more says that the sessions hold logits of other rows than an engine computes, so
// that their number tells nothing of the requests.
func ReadRows(fs []*Forward, ref, target, told *il.Session, raw [2]*il.Session, more bool) {
	var layout []requests.Rows
	for _, s := range []*il.Session{target, ref, told} {
		if s == nil {
			return
		}
		if more {
			s = withoutLogits(s)
		}
		var err error
		if layout, err = requests.Layout(s); err == nil {
			break
		}
	}
	cuts := cutsOf(raw)
	for _, f := range fs {
		i := slices.IndexFunc(layout, func(r requests.Rows) bool { return r.Step == f.Number })
		if i < 0 {
			continue
		}
		f.Rows = &Tokens{Request: layout[i].Request, Position: layout[i].Position, Cuts: cuts}
		if _, ids := TokenInputs(f.Find(IsEmbedding)); len(ids) == len(f.Rows.Position) {
			f.Rows.Ids = ids
		}
	}
}

// cutsOf are the positions behind the first at which only one of two sessions
// begins a chunk.
func cutsOf(raw [2]*il.Session) map[int]bool {
	var starts [2]map[int]bool
	for side, s := range raw {
		layout, err := requests.Layout(s)
		if err != nil {
			return nil
		}
		starts[side] = map[int]bool{}
		for _, r := range layout {
			for i, p := range r.Position {
				if p > 0 && (i == 0 || r.Request[i] != r.Request[i-1]) {
					starts[side][p] = true
				}
			}
		}
	}
	out := map[int]bool{}
	for side := range starts {
		for p := range starts[side] {
			if !starts[1-side][p] {
				out[p] = true
			}
		}
	}
	return out
}

// NameTokens names the worst token of every tensor that has a row a token.
func NameTokens(fs []*Forward, text func(id int) string) {
	for _, f := range fs {
		if f.Rows == nil {
			continue
		}
		for _, c := range f.Calls {
			for _, p := range c.Slots {
				t := p.Result
				if t == nil || t.Gap.WorstToken == nil || t.Gap.Identical() || isLogits(c) {
					continue
				}
				t.Token = f.Rows.name(t, text)
			}
		}
	}
}

func (r *Tokens) name(t *report.TensorDiff, text func(id int) string) *report.Token {
	n, i := 1, t.Gap.WorstToken.Index
	for _, d := range t.Shape[:max(0, len(t.Shape)-1)] {
		n *= d
	}
	if n != len(r.Position) || i >= n || r.Request[i] < 0 {
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

// withoutLogits is a session for reading its rows.
func withoutLogits(s *il.Session) *il.Session {
	var steps []*il.Step
	for _, st := range s.Steps {
		steps = append(steps, &il.Step{Number: st.Number, Calls: slices.DeleteFunc(slices.Clone(st.Calls), func(c *il.Call) bool {
			return topology.Of(c.Module).Kind == topology.Logits
		})})
	}
	return il.NewSession(s.Dir, s.Variant, steps)
}
