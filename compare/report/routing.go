package report

import (
	"fmt"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
)

// Routing is what the scores of a router send where, on both sides: for each token
// the set of its experts.
type Routing struct {
	Tokens    int      `json:"tokens"`             // rows that were looked at: those that no router before has left out
	PerToken  int      `json:"per_token,omitzero"` // experts of a token; 0 where the scores alone do not tell them
	Elsewhere int      `json:"elsewhere"`          // tokens whose experts are others
	NearTies  int      `json:"near_ties"`          // of them those that rounding and the router's inputs explain
	Tie       *Reroute `json:"tie,omitzero"`       // the near tie with the largest lead
	Wrong     *Reroute `json:"wrong,omitzero"`     // the first token that they do not explain
}

// Reroute is a token that goes to another expert.
type Reroute struct {
	Row   int     `json:"row"`
	From  int     `json:"from"`   // the expert in the reference
	To    int     `json:"to"`     // that in its place in the target
	Lead  float64 `json:"lead"`   // of From's score over To's in the reference
	Noise float64 `json:"noise"`  // what rounding and the router's inputs explain in one score
	RelL2 float64 `json:"rel_l2"` // of the row's scores
}

// Times is the lead in units of the noise.
func (r *Reroute) Times() float64 { return r.Lead / r.Noise }

func (r *Reroute) String() string {
	return fmt.Sprintf("row %d: expert %d in the reference, %d in the target, whose scores are %s apart there, %s times what rounding and the inputs explain in a score",
		r.Row, r.From, r.To, Num(r.Lead), Amount(r.Times()))
}

// MisroutedWhy says of a router that sends tokens elsewhere by more than its scores'
// noise.
func (r *Routing) MisroutedWhy() string {
	return fmt.Sprintf("%d of %s sent to other experts without a near tie: %s", r.Elsewhere-r.NearTies, plural.Count(r.Tokens, "token"), r.Wrong)
}

// RoutingLines tells of the tokens that went to other experts by near ties, whose rows
// are left out of what follows; none where no router was compared.
func RoutingLines(r *Report) []string {
	var tokens, ties, routers int
	var worst *TensorDiff
	left := 0
	for _, t := range r.Tensors {
		left = max(left, t.LeftOut)
		x := t.Routing
		if x == nil {
			continue
		}
		routers++
		tokens, ties = tokens+x.Tokens, ties+x.NearTies
		if x.Tie != nil && (worst == nil || x.Tie.Times() > worst.Routing.Tie.Times()) {
			worst = t
		}
	}
	switch {
	case ties > 0:
		return []string{
			fmt.Sprintf("%d of %d choices of %s fell on other experts by near ties, which is no fault; the rows of those tokens are left out of what follows in their forward", ties, tokens, plural.Count(routers, "router call")),
			fmt.Sprintf("the widest: step %d, %s, %s", worst.Step, il.CallName(worst.Module, worst.Call), worst.Routing.Tie),
		}
	case left > 0:
		return []string{fmt.Sprintf("rows of up to %s are left out behind routers: their experts' outputs are off, and the order of their scores is another; how many experts a token has is not known (--model tells it)", plural.Count(left, "token"))}
	case routers > 0 && tokens > 0:
		return []string{fmt.Sprintf("all %d choices of %s fell on the same experts", tokens, plural.Count(routers, "router call"))}
	}
	return nil
}
