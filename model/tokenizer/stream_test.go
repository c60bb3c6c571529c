package tokenizer

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// stream decodes ids through a Stream and checks that no part breaks a
// character.
func stream(t *testing.T, tok *Tokenizer, ids []int, skip bool) string {
	t.Helper()
	s := tok.Stream(skip)
	var b strings.Builder
	for _, id := range ids {
		part, err := s.Next(id)
		require.NoError(t, err)
		require.True(t, utf8.ValidString(part))
		b.WriteString(part)
	}
	part, err := s.Flush()
	require.NoError(t, err)
	b.WriteString(part)
	return b.String()
}

func TestStream(t *testing.T) {
	var texts []string
	readGzip(t, "texts.json.gz", &texts)
	for _, kind := range []string{"spm", "llama3", "llama2", "mistral"} {
		t.Run(kind, func(t *testing.T) {
			tok := loadSPM(t)
			if kind != "spm" {
				tok = load(t, kind)
			}
			compared := 0
			for _, text := range texts {
				ids, err := tok.Encode(text, true)
				require.NoError(t, err)
				for _, skip := range []bool{false, true} {
					want, err := tok.Decode(ids, skip)
					require.NoError(t, err)
					if strings.ContainsRune(want, utf8.RuneError) {
						continue
					}
					compared++
					require.Equal(t, want, stream(t, tok, ids, skip), "%q", text)
				}
			}
			require.Greater(t, compared, 4000)
		})
	}
}

// The parts come as soon as they are whole.
func TestStreamParts(t *testing.T) {
	tok := load(t, "llama2")
	var ids []int
	for _, token := range []string{"<s>", "▁", "h", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "</s>", "▁", "a", "<0xE2>"} {
		id, ok := tok.ID(token)
		require.True(t, ok, token)
		ids = append(ids, id)
	}
	s := tok.Stream(true)
	var parts []string
	for _, id := range ids {
		part, err := s.Next(id)
		require.NoError(t, err)
		parts = append(parts, part)
	}
	require.Equal(t, []string{"", "", "h", "", "", "", "😀", "", " ", "a", ""}, parts)
	last, err := s.Flush()
	require.NoError(t, err)
	require.Equal(t, "\ufffd", last)

	_, err = s.Next(1 << 30)
	require.ErrorContains(t, err, "is not in the tokenizer's vocabulary")
}

// Bytes that never become text neither block the stream nor are lost.
func TestStreamInvalid(t *testing.T) {
	for _, c := range []struct{ kind, token string }{{"llama2", "<0xE2>"}, {"llama3", byteChars[0xe2]}} {
		tok := load(t, c.kind)
		id, ok := tok.ID(c.token)
		require.True(t, ok)
		ids := make([]int, 100)
		for i := range ids {
			ids[i] = id
		}
		s := tok.Stream(false)
		n := 0
		for _, id := range ids {
			part, err := s.Next(id)
			require.NoError(t, err)
			n += strings.Count(part, "\ufffd")
		}
		require.Greater(t, n, 80, c.kind)
		require.Equal(t, strings.Repeat("\ufffd", 100), stream(t, tok, ids, false), c.kind)
	}
}
