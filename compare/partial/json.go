package partial

import (
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

// WritePart writes a part as one line of JSON. Equal parts give equal bytes.
func Write(w io.Writer, p *Report) error {
	if err := json.MarshalWrite(w, p, json.Deterministic(true), jsontext.AllowInvalidUTF8(true), exactFigures); err != nil {
		return err
	}
	_, err := w.Write([]byte("\n"))
	return err
}

// ReadPart reads a part; name is what messages call it. It refuses what is no
// part, or none that Merge could use without falling over it.
func Read(r io.Reader, name string) (*Report, error) {
	p := &Report{}
	d := jsontext.NewDecoder(r)
	err := json.UnmarshalDecode(d, p, json.RejectUnknownMembers(true), readFigures)
	if p.Schema == report.Schema {
		return nil, fmt.Errorf("%s: is the report of a whole comparison (%s), expected that of a part (%s), as ildiff --shard writes it", name, report.Schema, Schema)
	}
	if err == nil || p.Schema != "" {
		if p.Schema != Schema {
			return nil, fmt.Errorf("%s: is no report of a part: expected \"schema\": %q, as ildiff --shard writes it", name, Schema)
		}
	}
	if err == nil {
		if _, e := d.ReadToken(); e != io.EOF {
			err = errors.New("there is more after it")
		}
	}
	if err == nil {
		err = p.check()
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: ends before the report does: its part was stopped, or is still at work; run it again", name)
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

func (s *PartSlot) check(bounds int) error {
	switch t := s.Tensor; {
	case pairing.DirectionRank(s.Direction) < 0:
		return fmt.Errorf("direction %q is none", s.Direction)
	case !slices.Contains(fates, s.Fate):
		return fmt.Errorf("fate %q is none", s.Fate)
	case (t != nil) != (s.Fate == fates[pairing.Compared]):
		return fmt.Errorf("fate %q: a tensor that was compared has figures, and no other", s.Fate)
	case s.Bounds != nil && (*s.Bounds < 0 || *s.Bounds >= bounds):
		return fmt.Errorf("bounds %d of %d", *s.Bounds, bounds)
	case t == nil:
		return nil
	case t.Gap == nil:
		return errors.New("the tensor has no gap")
	case t.Floor != nil && (t.Floor.Target == nil || t.Floor.Emulation == nil || t.Floor.Apart == nil):
		return errors.New("the floor has no gaps")
	case slices.ContainsFunc(t.Shape, func(n int) bool { return n < 0 }):
		return fmt.Errorf("shape %v is none", t.Shape)
	}
	_, err := s.Tensor.types()
	return err
}

func (t *PartTensor) types() (out [2]tensor.DType, err error) {
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
