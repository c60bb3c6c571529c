package tokenizer

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func FuzzLoad(f *testing.F) {
	f.Add([]byte(small), "ab <s> \u00e9")
	f.Add([]byte(strings.Replace(small, `"byte_fallback": false`, `"byte_fallback": true`, 1)), "é")
	f.Add([]byte(strings.Replace(small, `{"type": "Fuse"}`, `{"type": "Sequence", "decoders": [{"type": "ByteLevel"}, {"type": "ByteFallback"}, {"type": "Strip", "content": " ", "start": 1, "stop": 1}]}`, 1)), " ")
	f.Add([]byte(strings.Replace(small, `{"type": "NFC"}`, `{"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "a"}, {"type": "Replace", "pattern": {"String": " "}, "content": "b"}]}`, 1)), "a b")
	f.Add([]byte(strings.Replace(small, `"Isolated"`, `"MergedWithNext"`, 1)), "  a b ")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := Load("fuzz", data)
		if err == nil {
			requireSane(t, tok, text)
		}
	})
}

func FuzzSentencePiece(f *testing.F) {
	f.Add([]byte(model(nil)), "aaa é")
	f.Add([]byte(model(nil).piece("b", -1, spUserDefined).piece("<0x41>", -1, spByte)), "abA")
	b, err := os.ReadFile("testdata/spm.model")
	require.NoError(f, err)
	f.Add(b, "Hello")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := LoadSentencePiece("fuzz", data)
		if err == nil {
			requireSane(t, tok, text)
		}
	})
}

// requireSane encodes a text and decodes the ids again.
func requireSane(t *testing.T, tok *Tokenizer, text string) {
	t.Helper()
	ids, err := tok.Encode(text, true)
	if err != nil {
		return
	}
	_, err = tok.Decode(ids, false)
	require.NoError(t, err, "ids of an encoding are in the vocabulary")
	for _, id := range ids {
		_, ok := tok.Token(id)
		require.True(t, ok)
	}
}

// Decoding gives back the text: always where the vocabulary has all bytes and
// nothing is normalized; where spaces become ▁, without ▁, special tokens and a
// space in front (which Metaspace takes for the one that it would add).
func FuzzRoundTrip(f *testing.F) {
	for _, s := range []string{"", " a  b\n", "héllo 你好 😀", "<|begin_of_text|>x", "\x00\u0301\u200b", "it's 12345"} {
		f.Add(s)
	}
	byteLevel := []*Tokenizer{load(f, "llama3"), load(f, "tekken"), load(f, "smollm"), load(f, "gopher1m")}
	spaces := []*Tokenizer{load(f, "llama2"), load(f, "mistral"), loadSPM(f)}
	f.Fuzz(func(t *testing.T, text string) {
		for _, tok := range byteLevel {
			requireRoundTrip(t, tok, text)
		}
		if !strings.ContainsAny(text, "▁<[") && !strings.HasPrefix(text, " ") {
			for _, tok := range spaces {
				requireRoundTrip(t, tok, text)
			}
		}
	})
}

func requireRoundTrip(t *testing.T, tok *Tokenizer, text string) {
	t.Helper()
	ids, err := tok.Encode(text, false)
	if !utf8.ValidString(text) {
		require.ErrorContains(t, err, "the text is not UTF-8")
		return
	}
	require.NoError(t, err)
	got, err := tok.Decode(ids, false)
	require.NoError(t, err)
	require.Equal(t, text, got)
}
