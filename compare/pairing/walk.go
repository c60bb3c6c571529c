package pairing

// Walk visits calls as they ran: before runs when a module is entered, after
// when it has returned.
func Walk(cs []*Call, before, after func(*Call)) {
	for _, c := range cs {
		before(c)
		Walk(c.Children, before, after)
		after(c)
	}
}
