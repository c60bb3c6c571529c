package provenance

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Text is the record as a session.json.
func (r Record) Text() ([]byte, error) {
	r.Schema = Schema
	return json.Marshal(r, json.Deterministic(true), jsontext.WithIndent("  "))
}
