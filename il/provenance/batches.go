package provenance

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"

	"github.com/go-json-experiment/json"

	"github.com/ilref/ilref/internal/sidefile"
)

const (
	maxBatches = 64 << 20 // bytes of a batches.jsonl, which is read whole: 300 bytes a forward and 16 more a request
	maxLine    = 1 << 20  // bytes of one line: an engine runs some thousand requests at once

	// maxRows bounds the tokens of a forward; no engine has more.
	maxRows = 1 << 24
)

// Batch is a line of a batches.jsonl: the requests of one recorded forward pass, in
// the order of their rows.
type Batch struct {
	Step         int      `json:"step"`                   // the number of its directory
	Forward      int      `json:"forward"`                // counted from the start of the run
	ReqIDs       []string `json:"req_ids"`                // one a request
	NumTokens    []int    `json:"num_tokens"`             // rows of each in this forward
	NumComputed  []int    `json:"num_computed"`           // tokens of each that were computed before: the position of its first row
	PaddedTokens int      `json:"padded_tokens,omitzero"` // rows of the forward, padding included; 0 is no padding
	Kind         string   `json:"kind,omitzero"`          // prefill, decode or mixed
}

// Tokens is the number of rows that are of requests.
func (b *Batch) Tokens() int {
	n := 0
	for _, k := range b.NumTokens {
		n += k
	}
	return n
}

// KindOf names what a forward's requests do: those with one row and tokens before it
// decode.
func KindOf(tokens, computed []int) string {
	decodes := 0
	for i, n := range tokens {
		if n == 1 && computed[i] > 0 {
			decodes++
		}
	}
	switch decodes {
	case 0:
		return "prefill"
	case len(tokens):
		return "decode"
	}
	return "mixed"
}

// ReadBatches reads the batches.jsonl of a session's directory, by step; nil where
// there is none. A line that cannot be used is a warning, and the forward has none.
func ReadBatches(dir string) (map[int]*Batch, []string) {
	path := filepath.Join(dir, BatchesName)
	data, err := sidefile.Read(path, maxBatches)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, []string{err.Error() + ": ignored"}
	}
	return ParseBatches(path, data)
}

// ParseBatches reads the text of a batches.jsonl. name is what messages call it.
func ParseBatches(name string, data []byte) (map[int]*Batch, []string) {
	out := map[int]*Batch{}
	lines := &decoder{name: name}
	twice := map[int]bool{}
	number := 0
	for line := range bytes.Lines(data) {
		number++
		at := fmt.Sprintf("line %d", number)
		whole := bytes.HasSuffix(line, []byte("\n"))
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		b, err := parseBatch(line)
		switch {
		case err != nil && !whole:
			lines.complain(at, "ends too early: the run that wrote it is still going, or died")
		case err != nil:
			lines.complain(at, "%v", err)
		case out[b.Step] != nil:
			twice[b.Step] = true
		default:
			out[b.Step] = b
		}
	}
	for step := range out {
		if twice[step] {
			delete(out, step)
		}
	}
	if n := len(twice); n > 0 {
		lines.complain("steps", "%d stand twice", n)
	}
	return out, lines.warnings()
}

func parseBatch(line []byte) (*Batch, error) {
	if len(line) > maxLine {
		return nil, fmt.Errorf("has %d bytes, expected at most %d", len(line), maxLine)
	}
	d := &decoder{}
	v, err := d.whole(line)
	if err != nil {
		return nil, errors.New("is no JSON object")
	}
	b := &Batch{Step: -1}
	d.value(reflect.ValueOf(b).Elem(), v, "")
	switch n := len(b.ReqIDs); {
	case len(d.lines) > 0:
		return nil, errors.New("holds members of other types than expected")
	case b.Step < 0:
		return nil, errors.New("names no step")
	case len(b.NumTokens) != n || len(b.NumComputed) != n:
		return nil, fmt.Errorf("has %d req_ids, %d num_tokens and %d num_computed", n, len(b.NumTokens), len(b.NumComputed))
	}
	rows := 0
	for i, n := range b.NumTokens {
		if n < 0 || n > maxRows || b.NumComputed[i] < 0 || b.NumComputed[i] > 1<<40 {
			return nil, fmt.Errorf("request %d has %d tokens after %d", i, n, b.NumComputed[i])
		}
		if rows += n; rows > maxRows {
			return nil, fmt.Errorf("has more than %d tokens", maxRows)
		}
	}
	if b.PaddedTokens < 0 || b.PaddedTokens > 0 && b.PaddedTokens < rows {
		return nil, fmt.Errorf("has %d tokens in %d rows", rows, b.PaddedTokens)
	}
	return b, nil
}

// Line is the batch as a line of batches.jsonl.
func (b *Batch) Line() ([]byte, error) {
	data, err := json.Marshal(b, json.Deterministic(true), json.FormatNilSliceAsNull(false))
	return append(data, '\n'), err
}
