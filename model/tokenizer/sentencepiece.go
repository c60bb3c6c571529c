package tokenizer

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// The kinds of pieces (sentencepiece_model.proto, SentencePiece.Type).
const (
	spNormal      = 1
	spUnknown     = 2
	spControl     = 3
	spUserDefined = 4
	spByte        = 6
)

type spPiece struct {
	text  string
	score float32
	kind  int
}

// spModel is what a tokenizer.model says (sentencepiece 0.2,
// sentencepiece_model.proto), with the defaults of the definition.
type spModel struct {
	pieces       []spPiece
	modelType    int // 1 unigram, 2 BPE, 3 word, 4 char
	byteFallback bool
	bos          int
	suffix       bool // white space goes to the end of words

	charsMap         int // bytes of normalization rules
	dummyPrefix      bool
	removeWhitespace bool
	escapeWhitespace bool
}

// LoadSentencePiece reads a tokenizer.model of type BPE. It encodes as
// SentencePiece does and, as the tokenizer that transformers makes of the file,
// recognizes control tokens that are spelled out, and begins with the BOS. The
// name is for messages.
func LoadSentencePiece(name string, data []byte) (*Tokenizer, error) {
	m, err := parseSentencePiece(data)
	if err != nil {
		return nil, fmt.Errorf("%s: not a SentencePiece model: %w", name, err)
	}
	if err := m.supported(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	t, err := m.build()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

func parseSentencePiece(data []byte) (*spModel, error) {
	m := &spModel{modelType: 1, bos: 1, dummyPrefix: true, removeWhitespace: true, escapeWhitespace: true}
	err := fields(data, func(f field) error {
		var part func(field) error
		switch f.number {
		case 1:
			m.pieces = append(m.pieces, spPiece{kind: spNormal})
			part = m.pieces[len(m.pieces)-1].read
		case 2:
			part = m.readTrainer
		case 3:
			part = m.readNormalizer
		case 5:
			part = func(f field) error { // the denormalizer
				if f.number == 2 && len(f.bytes) > 0 {
					return errors.New("rules for denormalization are not supported")
				}
				return nil
			}
		default:
			return nil
		}
		return errors.Join(f.is(2), fields(f.bytes, part))
	})
	if err == nil && len(m.pieces) == 0 {
		err = errors.New("it has no pieces")
	}
	return m, err
}

func (p *spPiece) read(f field) error {
	switch f.number {
	case 1:
		p.text = string(f.bytes)
		return f.is(2)
	case 2:
		p.score = f.float()
		return f.is(5)
	case 3:
		p.kind = int(f.value)
		return f.is(0)
	}
	return nil
}

func (m *spModel) readTrainer(f field) error {
	switch f.number {
	case 3:
		m.modelType = int(f.value)
	case 24:
		m.suffix = f.value != 0
	case 35:
		m.byteFallback = f.value != 0
	case 41:
		m.bos = int(int32(f.value))
	default:
		return nil
	}
	return f.is(0)
}

func (m *spModel) readNormalizer(f field) error {
	switch f.number {
	case 2:
		m.charsMap = len(f.bytes)
		return f.is(2)
	case 3:
		m.dummyPrefix = f.value != 0
	case 4:
		m.removeWhitespace = f.value != 0
	case 5:
		m.escapeWhitespace = f.value != 0
	default:
		return nil
	}
	return f.is(0)
}

func (m *spModel) supported() error {
	types := map[int]string{1: "unigram", 3: "word", 4: "char"}
	switch {
	case m.modelType != 2:
		return fmt.Errorf("a SentencePiece model of type %q is not supported, only \"bpe\"", types[m.modelType])
	case m.charsMap > 0:
		return errors.New("SentencePiece normalization rules are not supported, only \"identity\"; use a tokenizer.json")
	case m.removeWhitespace:
		return errors.New("the SentencePiece option remove_extra_whitespaces is not supported; use a tokenizer.json")
	case !m.escapeWhitespace:
		return errors.New("the SentencePiece option escape_whitespaces false is not supported; use a tokenizer.json")
	case m.suffix:
		return errors.New("the SentencePiece option treat_whitespace_as_suffix is not supported; use a tokenizer.json")
	}
	for i, p := range m.pieces {
		switch p.kind {
		case spNormal, spUnknown, spControl, spUserDefined, spByte:
		default:
			return fmt.Errorf("piece %d %q has the type %d, which is not supported", i, p.text, p.kind)
		}
		if p.text == "" || !utf8.ValidString(p.text) || math.IsNaN(float64(p.score)) {
			return fmt.Errorf("piece %d %q with score %v is not valid", i, p.text, p.score)
		}
	}
	return nil
}

const metaSpace = "▁"

func (m *spModel) build() (*Tokenizer, error) {
	vocab := make(map[string]uint32, len(m.pieces))
	var added []AddedToken
	unk := noID
	for i, p := range m.pieces {
		if _, ok := vocab[p.text]; ok {
			return nil, fmt.Errorf("the piece %q appears twice", p.text)
		}
		vocab[p.text] = uint32(i)
		switch p.kind {
		case spUnknown:
			unk = i
			added = append(added, AddedToken{ID: i, Content: p.text, Special: true})
		case spControl:
			added = append(added, AddedToken{ID: i, Content: p.text, Special: true})
		case spUserDefined: // found in normalized text, but not normalized themselves
			added = append(added, AddedToken{ID: i, Content: p.text, Normalized: true})
		}
	}
	if unk == noID {
		return nil, errors.New("the SentencePiece model has no unknown piece")
	}
	model, err := newBPE(vocab)
	if err != nil {
		return nil, err
	}
	model.unk, model.fuseUnk = int32(unk), true
	if m.byteFallback {
		model.setByteFallback()
	}
	m.addMerges(model)
	t := &Tokenizer{model: model, preTokenize: []preTokenizer{}}
	if t.added, err = newAddedTokens(added, model, nil); err != nil {
		return nil, err
	}
	t.normalize = func(s string, start bool) string {
		if m.dummyPrefix && start && s != "" {
			s = " " + s
		}
		return strings.ReplaceAll(s, " ", metaSpace)
	}
	t.decoders = m.decoders()
	if m.bos >= 0 && m.bos < len(m.pieces) {
		t.SetSpecial([]int{m.bos}, nil)
	}
	return t, nil
}

// addMerges lets every pair of pieces merge whose text together is a piece.
// SentencePiece merges the pair whose piece has the highest score, of equals
// the leftmost (src/bpe_model.cc), so a rank belongs to a score.
func (m *spModel) addMerges(model *bpe) {
	var scores []float32
	for _, p := range m.pieces {
		scores = append(scores, -p.score)
	}
	slices.Sort(scores)
	scores = slices.Compact(scores)
	normal := func(text string) (int32, bool) {
		id, ok := model.vocab[text]
		return int32(id), ok && m.pieces[id].kind == spNormal
	}
	for id, p := range m.pieces {
		if p.kind != spNormal {
			continue
		}
		rank, _ := slices.BinarySearch(scores, -p.score)
		for i := range p.text {
			left, ok1 := normal(p.text[:i])
			right, ok2 := normal(p.text[i:])
			if ok1 && ok2 {
				model.merges[pair(left, right)] = merge{uint32(rank), int32(id)}
			}
		}
	}
}

func (m *spModel) decoders() []decoder {
	d := []decoder{
		eachToken(func(s string) string { return strings.ReplaceAll(s, metaSpace, " ") }),
		decodeByteFallback, fuse,
	}
	if m.dummyPrefix {
		d = append(d, eachToken(func(s string) string { return strings.TrimPrefix(s, " ") }))
	}
	return d
}
