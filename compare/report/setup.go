package report

import (
	"slices"
	"strings"
)

// SetupKind is what a difference between the setups of two sessions is in.
type SetupKind string

// The kinds, in the order in which they are told.
const (
	SetupWeights   SetupKind = "weights"
	SetupEngine    SetupKind = "engine"
	SetupModel     SetupKind = "model"
	SetupKernels   SetupKind = "kernels"
	SetupExecution SetupKind = "execution"
	SetupParallel  SetupKind = "parallel"
	SetupNumerics  SetupKind = "numerics"
	SetupVersions  SetupKind = "versions"
	SetupEnv       SetupKind = "env"
)

// SetupKinds are all, in order.
var SetupKinds = []SetupKind{SetupWeights, SetupEngine, SetupModel, SetupKernels, SetupExecution, SetupParallel, SetupNumerics, SetupVersions, SetupEnv}

// SetupDifference is one thing in which the two sessions say that they were made
// otherwise. It is information, and no verdict.
type SetupDifference struct {
	Kind      SetupKind `json:"kind"`
	Name      string    `json:"name"`      // the member of session.json: kernels.attention
	Reference string    `json:"reference"` // its values; "" is none
	Target    string    `json:"target"`
	Text      string    `json:"text"` // a sentence without a full stop
}

// SetupLines tells the differences, a line each, those of versions, the environment
// and switches together in one line a kind.
func SetupLines(ds []SetupDifference) []string {
	var out []string
	for _, kind := range SetupKinds {
		together := ""
		switch kind {
		case SetupExecution:
			together = "other execution: "
		case SetupNumerics:
			together = "other switches of PyTorch: "
		case SetupVersions:
			together = "other versions: "
		case SetupEnv:
			together = "another environment: "
		}
		var parts []string
		for _, d := range ds {
			if d.Kind == kind {
				parts = append(parts, d.Text)
			}
		}
		switch {
		case len(parts) == 0:
		case together == "":
			out = append(out, parts...)
		case len(parts) > Listed:
			out = append(out, together+strings.Join(parts[:Listed], "; ")+"; …")
		default:
			out = append(out, together+strings.Join(parts, "; "))
		}
	}
	return out
}

// OtherWeights tells that the sessions ran other weights, "" where nothing says so.
func (r *Report) OtherWeights() string {
	if i := slices.IndexFunc(r.Setup, func(d SetupDifference) bool { return d.Kind == SetupWeights }); i >= 0 {
		return r.Setup[i].Text
	}
	return ""
}
