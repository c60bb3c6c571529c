package judge

import (
	"github.com/ilref/ilref/compare/pairing"
)

// onBothSides reports whether the tensor is another one, handed on.
func onBothSides(o *pairing.Origin) bool { return o != nil && o.InRef && o.InTarget }
