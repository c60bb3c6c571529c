package il

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ilref/ilref/internal/sidefile"
)

// provenanceFile lies in a session's directory and says how the session was
// made. Sessions of vLLM have none.
const provenanceFile = "session.json"

// ProvenanceSchema is the version of a session.json.
const ProvenanceSchema = "il.session.v1"

// maxProvenance bounds a session.json, which is read whole.
const maxProvenance = 1 << 20

// Provenance is what a session says of how it was made. Nothing in it is
// trusted for sizes or paths; members that are not known are ignored.
type Provenance struct {
	Schema  string  `json:"schema"`
	Status  Status  `json:"status"`
	Writer  Writer  `json:"writer"`
	Derived Derived `json:"derived,omitzero"`

	// Lacks is of a session that was written from another tool's dump.
	Lacks Lacks `json:"lacks,omitzero"`
}

// Status says whether a run has written all of its session.
type Status string

// Statuses.
const (
	Recording Status = "recording"
	Complete  Status = "complete"
	Failed    Status = "failed"
)

// Writer is a program that writes sessions.
type Writer struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

// Derived tells what a session was computed from, where that is another
// session: its tokens, or also what its modules were given.
type Derived struct {
	What       Derivation `json:"what"`
	Session    string     `json:"session"`    // Session.Fingerprint of that session
	Checkpoint string     `json:"checkpoint"` // digest of the weights
	DType      string     `json:"dtype"`      // of the arithmetic
	Rounding   string     `json:"rounding,omitempty"`
}

// Derivation is how a session follows from another.
type Derivation string

// Derivations.
const (
	Replay Derivation = "replay" // every call from the inputs that were recorded of it
	Rerun  Derivation = "rerun"  // its tokens and steps again
)

// Provenance reads what the session says of how it was made. It returns nil
// where it says nothing.
func (s *Session) Provenance() (*Provenance, error) {
	path := filepath.Join(s.Dir, provenanceFile)
	data, err := sidefile.Read(path, maxProvenance)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := &Provenance{}
	if err := json.Unmarshal(data, p); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if p.Schema != ProvenanceSchema {
		return nil, fmt.Errorf("%s: schema %q, expected %q", path, p.Schema, ProvenanceSchema)
	}
	return p, nil
}

// write puts the provenance into a session's directory.
func (p Provenance) write(dir string) error {
	p.Schema = ProvenanceSchema
	data, err := json.Marshal(p, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return err
	}
	return writeWhole(filepath.Join(dir, provenanceFile), append(data, '\n'))
}

// isProvenance reports whether an entry of a session's directory is a
// session.json.
func isProvenance(e os.DirEntry) bool { return e.Name() == provenanceFile && e.Type().IsRegular() }

// CheckDerived refuses a session that was not made from another in the way
// that is asked for. command is how such a session is made, for messages.
func (s *Session) CheckDerived(what Derivation, from *Session, command string) (*Derived, error) {
	p, err := s.Provenance()
	if err != nil {
		return nil, err
	}
	if p == nil || p.Derived.What != what {
		return nil, fmt.Errorf("%s is not known to be a %s of %s: it has no %s that says so; make one with %s", s.Dir, what, from.Dir, provenanceFile, command)
	}
	if p.Status != Complete {
		return nil, fmt.Errorf("%s is not complete: the %s that writes it is still going, or ended early; make it again with %s", s.Dir, what, command)
	}
	if p.Derived.Session != from.Fingerprint() {
		return nil, fmt.Errorf("%s is a %s of another session than %s, or of an earlier state of it; make it with %s", s.Dir, what, from.Dir, command)
	}
	return &p.Derived, nil
}
