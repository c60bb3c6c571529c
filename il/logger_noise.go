package il

import "github.com/ilref/ilref/tensor"

// Noise logs, for a replay, how many times what rounding explains each element
// of a result of the module's latest call is off in the replayed session. slot is
// that of the result.
func (l *Logger) Noise(module, slot string, z *tensor.Tensor) {
	call := l.counts[module] - 1
	if l.writer.hasFailed() || !l.cfg.SelectsStep(l.step) || call < 0 || !l.selects(module, Outputs, call) {
		return
	}
	r, err := l.openCall(module, Outputs, call)
	if err == nil {
		_, err = r.tensor(Noise, slot, z)
	}
	if err != nil {
		l.writer.refuse(err)
		return
	}
	l.writer.write(r)
}
