package tokenizer

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkEncode encodes the golden texts as one (all scripts, code, runs of
// spaces: harder than prose), with a tokenizer that has no words in its cache
// yet. golden.mjs speed measures the library on the same.
func BenchmarkEncode(b *testing.B) {
	var texts []string
	readGzip(b, "texts.json.gz", &texts)
	text := strings.Join(texts, "\n")
	for _, kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			tok := load(b, kind)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				clear(tok.model.cache)
				ids, err := tok.Encode(text, true)
				require.NoError(b, err)
				require.NotEmpty(b, ids)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	var texts []string
	readGzip(b, "texts.json.gz", &texts)
	for _, kind := range []string{"llama3", "llama2"} {
		b.Run(kind, func(b *testing.B) {
			tok := load(b, kind)
			ids, err := tok.Encode(strings.Join(texts, "\n"), true)
			require.NoError(b, err)
			b.ReportMetric(float64(len(ids)), "ids")
			for b.Loop() {
				_, err := tok.Decode(ids, false)
				require.NoError(b, err)
			}
		})
	}
}
