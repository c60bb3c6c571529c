package tokenizer

import (
	"encoding/binary"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func loadSPM(tb testing.TB) *Tokenizer {
	tb.Helper()
	b, err := os.ReadFile("testdata/spm.model")
	require.NoError(tb, err)
	t, err := LoadSentencePiece("spm.model", b)
	require.NoError(tb, err)
	return t
}

// Every id is that of the SentencePiece library, as golden_spm.py recorded it,
// behind a BOS. Control tokens are left out: the library takes them for text.
func TestSentencePieceGolden(t *testing.T) {
	tok := loadSPM(t)
	var texts []string
	readGzip(t, "texts.json.gz", &texts)
	var g golden
	readGzip(t, "spm.golden.json.gz", &g)
	require.Equal(t, g.Size, tok.VocabSize())
	require.Len(t, g.Texts, len(texts))
	compared := 0
	for i, text := range texts {
		if strings.Contains(text, "<s>") || strings.Contains(text, "</s>") || strings.Contains(text, "<unk>") {
			continue
		}
		compared++
		ids, err := tok.Encode(text, false)
		require.NoError(t, err)
		requireIDs(t, tok, text, g.Texts[i].IDs, ids)
		got, err := tok.Decode(ids, true)
		require.NoError(t, err)
		require.Equal(t, or(g.Texts[i].Decoded, text), got, "%q", text)
	}
	require.Greater(t, compared, 2000)
}

func TestSentencePieceSpecial(t *testing.T) {
	tok := loadSPM(t)
	ids, err := tok.Encode("</s>a<|user|>", true)
	require.NoError(t, err)
	user, ok := tok.ID("<|user|>")
	require.True(t, ok)
	a, ok := tok.ID("a")
	require.True(t, ok)
	require.Equal(t, []int{1, 2, a, user}, ids, "the BOS, the control token, no space before a")
	text, err := tok.Decode(ids, true)
	require.NoError(t, err)
	require.Equal(t, "a<|user|>", text)
}

// spm builds the wire form of a model.
type spm []byte

func (m spm) bytes(number int, b []byte) spm {
	m = binary.AppendUvarint(m, uint64(number)<<3|2)
	m = binary.AppendUvarint(m, uint64(len(b)))
	return append(m, b...)
}

func (m spm) varint(number int, v int) spm {
	m = binary.AppendUvarint(m, uint64(number)<<3)
	return binary.AppendUvarint(m, uint64(v))
}

func (m spm) piece(text string, score float32, kind int) spm {
	p := spm(nil).bytes(1, []byte(text))
	p = binary.AppendUvarint(p, 2<<3|5)
	p = binary.LittleEndian.AppendUint32(p, math.Float32bits(score))
	return m.bytes(1, p.varint(3, kind))
}

// model has the settings that are supported, and a few pieces.
func model(change func(trainer, normalizer spm) (spm, spm)) spm {
	trainer, normalizer := spm(nil).varint(3, 2), spm(nil).varint(4, 0)
	if change != nil {
		trainer, normalizer = change(trainer, normalizer)
	}
	return spm(nil).piece("<unk>", 0, spUnknown).piece("<s>", 0, spControl).piece("a", -1, spNormal).piece("aa", -2, spNormal).
		bytes(2, trainer).bytes(3, normalizer)
}

func TestSentencePieceErrors(t *testing.T) {
	tok, err := LoadSentencePiece("m", model(nil))
	require.NoError(t, err)
	ids, err := tok.Encode("aaa é", true)
	require.NoError(t, err)
	require.Equal(t, []int{1, 0, 3, 2, 0}, ids, "unknown characters in a row are one unknown token")

	trainer := func(number, v int) spm {
		return model(func(tr, n spm) (spm, spm) { return tr.varint(number, v), n })
	}
	normalizer := func(number, v int) spm {
		return model(func(tr, n spm) (spm, spm) { return tr, n.varint(number, v) })
	}
	cases := []struct {
		name string
		data spm
		want string
	}{
		{"empty", nil, "m: not a SentencePiece model: it has no pieces"},
		{"text", spm("IQ== 0\n"), "m: not a SentencePiece model: the protobuf data ends inside a field"},
		{"zeros", make(spm, 4), "m: not a SentencePiece model: no valid protobuf field where one should begin"},
		{"cut off", model(nil)[:20], "m: not a SentencePiece model: the protobuf data ends inside a field"},
		{"length", spm{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, "m: not a SentencePiece model: the protobuf data ends inside a field"},
		{"group", spm{0x0b}, "m: not a SentencePiece model: protobuf field 1 has the wire type 3, which is not supported"},
		{"piece as a number", spm(nil).varint(1, 5), "m: not a SentencePiece model: protobuf field 1 has the wire type 0, expected 2"},
		{"unigram", trainer(3, 1), `m: a SentencePiece model of type "unigram" is not supported, only "bpe"`},
		{"suffix", trainer(24, 1), "m: the SentencePiece option treat_whitespace_as_suffix is not supported; use a tokenizer.json"},
		{"remove", normalizer(4, 1), "m: the SentencePiece option remove_extra_whitespaces is not supported; use a tokenizer.json"},
		{"escape", normalizer(5, 0), "m: the SentencePiece option escape_whitespaces false is not supported; use a tokenizer.json"},
		{"rules", model(func(tr, n spm) (spm, spm) { return tr, n.bytes(2, []byte("x")) }), `m: SentencePiece normalization rules are not supported, only "identity"; use a tokenizer.json`},
		{"denormalizer", model(nil).bytes(5, spm(nil).bytes(2, []byte("x"))), "m: not a SentencePiece model: rules for denormalization are not supported"},
		{"unused", model(nil).piece("b", 0, 5), `m: piece 4 "b" has the type 5, which is not supported`},
		{"twice", model(nil).piece("a", 0, spNormal), `m: the piece "a" appears twice`},
		{"empty piece", model(nil).piece("", 0, spNormal), `m: piece 4 "" with score 0 is not valid`},
		{"score", model(nil).piece("b", float32(math.NaN()), spNormal), `m: piece 4 "b" with score NaN is not valid`},
		{"no unknown", model(nil)[11+len("<unk>"):], "m: the SentencePiece model has no unknown piece"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := LoadSentencePiece("m", c.data)
			require.EqualError(t, err, c.want)
		})
	}
}
