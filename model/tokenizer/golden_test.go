package tokenizer

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/stretchr/testify/require"
)

// kinds are the tokenizers of testdata, trained by train.py, and gopher-1m's.
var kinds = []string{"llama3", "qwen2", "tekken", "smollm", "llama2", "llama2old", "phi3", "mistral", "odd", "gopher1m"}

func load(tb testing.TB, kind string) *Tokenizer {
	tb.Helper()
	file := filepath.Join("testdata", kind+".json")
	if kind == "gopher1m" {
		file = filepath.Join(fixture.Checkpoint("gopher-1m"), "tokenizer.json")
	}
	b, err := os.ReadFile(file)
	require.NoError(tb, err)
	t, err := Load(file, b)
	require.NoError(tb, err)
	return t
}

func readGzip(tb testing.TB, file string, v any) {
	tb.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	require.NoError(tb, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(tb, err)
	require.NoError(tb, json.NewDecoder(z).Decode(v))
}

type golden struct {
	Size  int
	Texts []struct {
		IDs, Plain       []int
		Decoded, Skipped *string // nil: the text itself
	}
	Random []struct {
		IDs              []int
		Decoded, Skipped string
	}
}

// Every id and every decoded text is that of the Hugging Face tokenizers
// library, as golden.mjs recorded it.
func TestGolden(t *testing.T) {
	var texts []string
	readGzip(t, "texts.json.gz", &texts)
	require.Greater(t, len(texts), 2000)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			tok := load(t, kind)
			var g golden
			readGzip(t, kind+".golden.json.gz", &g)
			require.Equal(t, g.Size, tok.VocabSize())
			require.Len(t, g.Texts, len(texts))
			compared := 0
			for i, text := range texts {
				if !assigned(text) || kind == "odd" && strings.ContainsFunc(text, newModifier) {
					continue
				}
				compared++
				want := g.Texts[i]
				ids, err := tok.Encode(text, true)
				require.NoError(t, err)
				requireIDs(t, tok, text, want.IDs, ids)
				if want.Plain != nil {
					plain, err := tok.Encode(text, false)
					require.NoError(t, err)
					requireIDs(t, tok, text, want.Plain, plain)
				}
				requireDecoded(t, tok, ids, or(want.Decoded, text), or(want.Skipped, text))
			}
			require.Greater(t, compared, 2000)
			for _, r := range g.Random {
				requireDecoded(t, tok, r.IDs, r.Decoded, r.Skipped)
			}
		})
	}
}

// assigned reports whether Go's Unicode tables know every character. The
// library's are newer (16 against Go 1.26's 15), so new letters split
// differently.
func assigned(text string) bool {
	for _, r := range text {
		if !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z) {
			return false
		}
	}
	return true
}

// newModifier reports the letters that got their compatibility decompositions
// in Unicode 14 and 15. The library's NFKD is of Unicode 13.
func newModifier(r rune) bool {
	return r >= 0xa7f2 && r <= 0xa7f4 || r >= 0x10780 && r <= 0x107ba || r >= 0x1e030 && r <= 0x1e06d
}

func or(s *string, otherwise string) string {
	if s == nil {
		return otherwise
	}
	return *s
}

func requireDecoded(t *testing.T, tok *Tokenizer, ids []int, decoded, skipped string) {
	t.Helper()
	got, err := tok.Decode(ids, false)
	require.NoError(t, err)
	require.Equal(t, decoded, got, "%v", ids)
	got, err = tok.Decode(ids, true)
	require.NoError(t, err)
	require.Equal(t, skipped, got, "without special tokens: %v", ids)
}

func requireIDs(t *testing.T, tok *Tokenizer, text string, want, got []int) {
	t.Helper()
	if len(want) == 0 && len(got) == 0 {
		return
	}
	require.Equal(t, want, got, "%q: want %s, got %s", text, pieces(tok, want), pieces(tok, got))
}

func pieces(tok *Tokenizer, ids []int) string {
	var s []string
	for _, id := range ids {
		p, _ := tok.Token(id)
		s = append(s, p)
	}
	return strings.Join(s, "|")
}
