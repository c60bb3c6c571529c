package pairing

// Propagated is the worst that tensors hand on to what is computed from them.
type Propagated struct {
	Gap float64 // between the sessions

	// With an oracle and a floor:
	Apart  float64 // from the emulation
	Row    float64 // the same of the worst row
	Excess float64 // over the emulation's gap to the oracle
	Left   bool    // a tensor has left the floor
	Scaled bool    // a scale is wrong
}

// Add keeps the worse of each.
func (h *Propagated) Add(x Propagated) {
	h.Gap, h.Apart, h.Row, h.Excess = max(h.Gap, x.Gap), max(h.Apart, x.Apart), max(h.Row, x.Row), max(h.Excess, x.Excess)
	h.Left, h.Scaled = h.Left || x.Left, h.Scaled || x.Scaled
}
