package compare

import (
	"math"
)

var (
	nan = math.NaN()
	inf = math.Inf(1)
)
