package partial

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/tensor"
)

// A figure that is no number is a string in a part, and every other is written
// so that the same bits are read: the judge must see what was measured.
var (
	exactFigures = json.WithMarshalers(json.MarshalToFunc(func(e *jsontext.Encoder, v float64) error {
		switch {
		case math.IsNaN(v):
			return e.WriteToken(jsontext.String("NaN"))
		case math.IsInf(v, 1):
			return e.WriteToken(jsontext.String("Infinity"))
		case math.IsInf(v, -1):
			return e.WriteToken(jsontext.String("-Infinity"))
		}
		return errors.ErrUnsupported
	}))
	readFigures = json.WithUnmarshalers(json.UnmarshalFromFunc(func(d *jsontext.Decoder, v *float64) error {
		if d.PeekKind() != '"' {
			return errors.ErrUnsupported
		}
		t, err := d.ReadToken()
		if err != nil {
			return err
		}
		switch s := t.String(); s {
		case "NaN":
			*v = math.NaN()
		case "Infinity":
			*v = math.Inf(1)
		case "-Infinity":
			*v = math.Inf(-1)
		default:
			return fmt.Errorf("%q is no figure", s)
		}
		return nil
	}))
)

// Write writes a part as one line of JSON, sealed. Equal parts give equal bytes.
func Write(w io.Writer, p *Report) error {
	data, err := json.Marshal(p, json.Deterministic(true), jsontext.AllowInvalidUTF8(true), exactFigures)
	if err != nil {
		return err
	}
	_, err = w.Write(append(Seal(data), '\n'))
	return err
}

// The last member of a part is a digest of all before it: verdicts are built on
// what a part says, so that one that was edited, cut or mixed must not be read.
const (
	sealStart = `,"digest":"`
	sealEnd   = `"}`
	sealSize  = len(sealStart) + 2*sha256.Size + len(sealEnd)
)

// Seal adds the digest to a part's JSON object, which ends in "}".
func Seal(data []byte) []byte {
	body := bytes.TrimSuffix(bytes.TrimSpace(data), []byte("}"))
	return slices.Concat(body, []byte(sealStart+digestOf(body)+sealEnd))
}

func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

var errSeal = errors.New("its digest is not that of its content: it was changed after ildiff --shard wrote it; make the part again")

// unseal takes the digest off, and refuses what it is not the digest of.
func unseal(data []byte) ([]byte, error) {
	data = bytes.TrimSpace(data)
	if len(data) < sealSize {
		return nil, errSeal
	}
	body, seal := data[:len(data)-sealSize], string(data[len(data)-sealSize:])
	if seal != sealStart+digestOf(body)+sealEnd {
		return nil, errSeal
	}
	return append(body, '}'), nil // in the place of the digest
}

// Read reads a part; name is what messages call it. It refuses what is no part,
// what is not as it was written, and what Merge could not use without falling
// over it.
func Read(r io.Reader, name string) (*Report, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := &Report{}
	d := jsontext.NewDecoder(bytes.NewReader(data))
	var head struct {
		Schema string `json:"schema"`
	}
	err = json.UnmarshalDecode(d, &head, readFigures)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s: ends before the report does: its part was stopped, or is still at work; run it again", name)
	case head.Schema == report.Schema:
		return nil, fmt.Errorf("%s: is the report of a whole comparison (%s), expected that of a part (%s), as ildiff --shard writes it", name, report.Schema, Schema)
	case err == nil && head.Schema != Schema:
		return nil, fmt.Errorf("%s: is no report of a part: expected \"schema\": %q, as ildiff --shard writes it", name, Schema)
	}
	if err == nil {
		if _, e := d.ReadToken(); e != io.EOF {
			err = errors.New("there is more after it")
		}
	}
	if err == nil {
		data, err = unseal(data)
	}
	if err == nil {
		err = json.Unmarshal(data, p, json.RejectUnknownMembers(true), readFigures)
	}
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: is no report of a part: %w", name, err)
	}
	p.File = name
	return p, nil
}

// check refuses what would make Merge index, allocate or follow what is not
// there.
func (p *Report) check() error {
	if !p.Shard.Valid() {
		return fmt.Errorf("/shard: there is no %s", p.Shard)
	}
	if !slices.Contains([]report.Rule{report.RuleNoise, report.RuleReplay, report.RuleFloor}, p.Rule) {
		return fmt.Errorf("/rule: %q is none", p.Rule)
	}
	if err := p.checkLimits(); err != nil {
		return err
	}
	for i, f := range p.Forwards {
		if f.Work < pairing.SameWork || f.Work > pairing.HistoryDiverged || f.Calls < 0 {
			return fmt.Errorf("/forwards/%d: there is no such forward", i)
		}
	}
	for i := range p.Calls {
		c := &p.Calls[i]
		if c.Forward < 0 || c.Forward >= len(p.Forwards) || c.At < 0 || c.At >= p.Forwards[c.Forward].Calls {
			return fmt.Errorf("/calls/%d: lies outside the forwards", i)
		}
		for k := range c.Slots {
			if err := c.Slots[k].check(len(p.PolicyBounds)); err != nil {
				return fmt.Errorf("/calls/%d/slots/%d: %w", i, k, err)
			}
		}
	}
	return nil
}

// checkLimits refuses limits that everything keeps to, or nothing.
func (p *Report) checkLimits() error {
	if m := p.MinCoverage; m != nil && !(*m >= 0 && *m <= 100) {
		return fmt.Errorf("/min_coverage: %v, want a percentage", *m)
	}
	if !(p.RatioLimit >= 0) || math.IsInf(p.RatioLimit, 1) {
		return fmt.Errorf("/ratio_limit: %v, want a number from 0 on", p.RatioLimit)
	}
	if !(p.Clip >= 0 && p.Clip <= math.MaxFloat64) {
		return fmt.Errorf("/clip: %v, want a number from 0 on", p.Clip)
	}
	for _, name := range report.LogprobBoundNames {
		if p.Logprobs == nil {
			break
		}
		if v := *p.Logprobs.Field(name); v != nil && !(*v >= 0 && *v <= math.MaxFloat64) {
			return fmt.Errorf("/logprobs: %s %v is no limit", name, *v)
		}
	}
	for i, b := range append([]report.Bounds{p.Bounds}, p.PolicyBounds...) {
		for _, limit := range []*float64{b.RTol, b.ATol, b.MaxAbs, b.MaxRelL2, b.MaxMismatched} {
			if limit != nil && !(*limit >= 0 && *limit <= math.MaxFloat64) {
				return fmt.Errorf("/bounds %d: %v is no limit", i, *limit)
			}
		}
		if c := b.MinCosine; c != nil && !(*c >= -1 && *c <= 1) {
			return fmt.Errorf("/bounds %d: min_cosine %v, want a number from -1 to 1", i, *c)
		}
	}
	return nil
}

func (s *Slot) check(bounds int) error {
	switch t := s.Tensor; {
	case pairing.DirectionRank(s.Direction) < 0:
		return fmt.Errorf("direction %q is none", s.Direction)
	case !slices.Contains(fates, s.Fate):
		return fmt.Errorf("fate %q is none", s.Fate)
	case (t != nil) != (s.Fate == fates[pairing.Compared]):
		return fmt.Errorf("fate %q: a tensor that was compared has figures, and no other", s.Fate)
	case s.Bounds != nil && (*s.Bounds < 0 || *s.Bounds >= bounds):
		return fmt.Errorf("bounds %d of %d", *s.Bounds, bounds)
	case s.Rows != nil && len(s.Rows.Ref) != len(s.Rows.Target):
		return fmt.Errorf("rows %d and %d", len(s.Rows.Ref), len(s.Rows.Target))
	case t == nil && (s.Rank != nil || s.Rows != nil || s.Logprobs != nil || len(s.RankGaps)+len(s.Clues) > 0):
		return errors.New("says of a tensor that was not compared what only comparing it tells")
	case t == nil:
		return nil
	case t.Gap == nil:
		return errors.New("the tensor has no gap")
	case t.Floor != nil && (t.Floor.Target == nil || t.Floor.Emulation == nil || t.Floor.Apart == nil):
		return errors.New("the floor has no gaps")
	case t.Noise != nil && (t.Local == nil || len(t.Shape) == 0 || t.Noise.Values <= 0 || !t.Noise.Worst.In(t.Noise.Values, t.Shape[len(t.Shape)-1])):
		return errors.New("the noise is of no block of the tensor")
	case (t.Whole != nil) != (t.LeftOut > 0), t.Routing != nil && t.Routing.NearTies < t.Routing.Elsewhere && t.Routing.Wrong == nil:
		return errors.New("says of rows that are left out what does not fit together")
	case slices.ContainsFunc(t.Shape, func(n int) bool { return n < 0 }):
		return fmt.Errorf("shape %v is none", t.Shape)
	}
	_, err := s.Tensor.types()
	return err
}

func (t *Tensor) types() (out [2]tensor.DType, err error) {
	for i, name := range t.DTypes {
		if out[i], err = parseType(name); err != nil {
			return out, err
		}
	}
	if t.Floor != nil {
		_, err = parseType(t.Floor.DType)
	}
	return out, err
}

func parseType(name string) (tensor.DType, error) {
	d, ok := tensor.ParseDType(name)
	if !ok {
		return 0, fmt.Errorf("dtype %q is none", name)
	}
	return d, nil
}
