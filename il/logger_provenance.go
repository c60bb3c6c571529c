package il

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/ilref/ilref/il/provenance"
)

// maker writes the provenance of a session that is being logged; without a record it
// writes nothing. Equal runs give equal bytes: neither times nor the session's name are
// in it.
type maker struct {
	dir     string
	record  *provenance.Record
	batches *os.File // nil until there is one
	size    int64    // of its whole lines
	err     error    // the first that writing a batch met
}

// begin says that the session is being recorded, as cfg says, and how its files are
// named.
func (m *maker) begin(cfg *Config, device string) error {
	if m.record == nil {
		return nil
	}
	r := *m.record // the caller's stays as it is
	m.record = &r
	r.Status = provenance.Recording
	r.Run.Variant, r.Run.Label = string(VariantA), "device"
	if r.Parallel.Ranks == nil {
		r.Parallel.Ranks = []provenance.Rank{{Label: device}}
	}
	var err error
	if r.Config, err = cfg.JSON(); err != nil {
		return err
	}
	return writeProvenance(&r, m.dir)
}

// batch adds a forward's requests.
func (m *maker) batch(b *provenance.Batch) {
	if m.record == nil || m.err != nil {
		return
	}
	path := filepath.Join(m.dir, provenance.BatchesName)
	line, err := b.Line()
	if err == nil && m.batches == nil {
		m.batches, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	}
	if err == nil {
		if _, err = m.batches.Write(line); err != nil {
			_ = m.batches.Truncate(m.size) // a full disk takes a part of a line
		}
	}
	if err != nil {
		m.err = writeError(path, err)
		return
	}
	m.size += int64(len(line))
	if len(m.record.Steps) == provenance.MaxSteps {
		return
	}
	rows := max(b.PaddedTokens, b.Tokens())
	m.record.Steps = append(m.record.Steps, provenance.Step{Step: b.Step, Forward: b.Forward, Tokens: b.Tokens(), PaddedTokens: rows, Requests: len(b.ReqIDs)})
}

// end says how the recording ended: err is what ended it early, nil for nothing.
func (m *maker) end(err error) error {
	if m.batches != nil {
		if e := m.batches.Close(); e != nil && m.err == nil {
			m.err = writeError(m.batches.Name(), e)
		}
		m.batches = nil
	}
	if m.record == nil {
		return nil
	}
	r := m.record
	r.Status = provenance.Complete
	if err == nil {
		err = m.err
	}
	switch {
	case err == nil:
	case errors.Is(err, context.Canceled):
		r.Status, r.Reason = provenance.Stopped, "interrupted"
	default:
		r.Status, r.Reason, r.FirstError = provenance.Failed, err.Error(), err.Error()
	}
	if e := writeProvenance(r, m.dir); e != nil && m.err == nil {
		return e
	}
	return m.err
}

// Batch tells the logger of the requests that the forward of the current step runs;
// the step's number is the logger's. Where no hook of the root ends a step, its forwards
// are counted on from there, as those who read the session count them.
func (l *Logger) Batch(b provenance.Batch) {
	if l.cfg.SelectsStep(l.step) {
		b.Step = l.step + l.batches
		l.made.batch(&b)
	}
	l.batches++
}
