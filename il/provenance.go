package il

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/ilref/ilref/il/provenance"
)

// Provenance is what the session says of how it was made, nil where it says nothing
// that can be read.
func (s *Session) Provenance() *provenance.Record { return s.made }

// Batch is what the session says of the requests of a step's forward, nil where it
// says nothing. It is not held against what was recorded.
func (s *Session) Batch(step int) *provenance.Batch { return s.batches[step] }

// HasBatches reports whether the session says of any forward which requests it ran.
func (s *Session) HasBatches() bool { return len(s.batches) > 0 }

// Inherit gives a session that was derived from another in memory, of the same steps,
// what that one says of how it was made.
func (s *Session) Inherit(from *Session) {
	s.made, s.madeErr, s.batches = from.made, from.madeErr, from.batches
	s.lagContradicted, s.logitsMoved = from.lagContradicted, from.logitsMoved
	s.unfinished, s.lacks, s.model = from.unfinished, from.lacks, from.model
}

// InheritBatches gives a session that was made from another the requests of its steps.
func (s *Session) InheritBatches(from *Session) { s.batches = from.batches }

// InheritShifted is Inherit of a session whose steps have other numbers.
func (s *Session) InheritShifted(from *Session) {
	s.Inherit(from)
	s.batches = nil
}

// readProvenance reads session.json and batches.jsonl. What is wrong with them costs
// the session nothing.
func (s *Session) readProvenance(sc *scanner) {
	var warnings []string
	if s.madeErr = sc.checkOwn(provenance.FileName); s.madeErr == nil {
		s.made, warnings, s.madeErr = provenance.Read(s.Dir)
	}
	if s.madeErr != nil {
		warnings = []string{s.madeErr.Error() + ": ignored"}
	}
	s.Warnings = append(s.Warnings, warnings...)
	if s.made != nil && s.made.Lacks.Tool != "" {
		s.lacks = &s.made.Lacks
		s.Warnings = append([]string{s.lacks.String()}, s.Warnings...)
	}
	if err := sc.checkOwn(provenance.BatchesName); err != nil {
		s.Warnings = append(s.Warnings, err.Error()+": ignored")
		return
	}
	s.batches, warnings = provenance.ReadBatches(s.Dir)
	s.Warnings = append(s.Warnings, warnings...)
}

// checkOwn refuses a file of the session's directory that is a link out of it.
func (sc *scanner) checkOwn(name string) error {
	path := filepath.Join(sc.dir, name)
	info, err := os.Lstat(path)
	if err != nil {
		return nil // whoever reads it says so
	}
	return sc.check(path, fs.FileInfoToDirEntry(info))
}

// writeProvenance puts a record into a session's directory.
func writeProvenance(r *provenance.Record, dir string) error {
	data, err := r.Text()
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(dir, provenance.FileName), err)
	}
	return writeWhole(filepath.Join(dir, provenance.FileName), data)
}

// isProvenance reports whether an entry of a session's directory is a file of its
// provenance. What is of another kind is complained of when it is read.
func isProvenance(e os.DirEntry) bool {
	return slices.Contains([]string{provenance.FileName, provenance.BatchesName}, e.Name())
}

// CheckDerived refuses a session that was not made from another in the way
// that is asked for. command is how such a session is made, for messages.
func (s *Session) CheckDerived(what provenance.Derivation, from *Session, command string) (*provenance.Derived, error) {
	p := s.made
	switch {
	case s.madeErr != nil:
		return nil, s.madeErr
	case p == nil || p.Derived.What != what:
		return nil, fmt.Errorf("%s is not known to be a %s of %s: it has no %s that says so; make one with %s", s.Dir, what, from.Dir, provenance.FileName, command)
	case p.Status != provenance.Complete:
		return nil, fmt.Errorf("%s is not complete: the %s that writes it is still going, or ended early; make it again with %s", s.Dir, what, command)
	case p.Derived.Session != from.Fingerprint():
		return nil, fmt.Errorf("%s is a %s of another session than %s, or of an earlier state of it; make it with %s", s.Dir, what, from.Dir, command)
	}
	return &p.Derived, nil
}
