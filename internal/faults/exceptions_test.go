package faults

import "slices"

// exception is a case in which ildiff does not say what is right.
type exception struct {
	name    string   // of the fault or the negative
	columns []string // nil for all
	benches []string // nil for all
	why     string   // why it cannot, or what is left to do
	pending bool     // it can be done and is not yet
}

func (e exception) covers(o outcome) bool {
	return e.name == o.name && (e.columns == nil || slices.Contains(e.columns, o.column)) && (e.benches == nil || slices.Contains(e.benches, o.bench))
}

// exceptions is empty: all is right.
var exceptions = []exception{}
