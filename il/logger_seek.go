package il

// SkipTo makes step the current one: a run that repeats parts of a session
// keeps the session's numbers.
func (l *Logger) SkipTo(step int) {
	if step == l.step {
		return
	}
	l.begin(step)
}

// SetCall makes call the index of the next call of a module in this step.
func (l *Logger) SetCall(module string, call int) { l.counts[module] = call }
