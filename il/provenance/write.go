package provenance

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Text is the record as a session.json.
func (r Record) Text() ([]byte, error) {
	r.Schema = Schema
	data, err := json.Marshal(r, json.Deterministic(true), jsontext.WithIndent("  "))
	return append(data, '\n'), err
}
