package tokenizer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// small is a tokenizer of a few tokens; tests change one thing in it.
const small = `{
"version": "1.0", "truncation": null, "padding": null,
"added_tokens": [{"id": 5, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
"normalizer": {"type": "NFC"},
"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Isolated", "invert": false},
"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
 "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [5], "tokens": ["<s>"]}}},
"decoder": {"type": "Fuse"},
"model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
 "byte_fallback": false, "ignore_merges": false, "vocab": {"a": 0, "b": 1, " ": 2, "ab": 3, "abb": 4}, "merges": [["a", "b"], ["ab", "b"]]}
}`

func TestLoad(t *testing.T) {
	tok, err := Load("t.json", []byte(small))
	require.NoError(t, err)
	require.Equal(t, 6, tok.VocabSize())
	ids, err := tok.Encode("abba <s>ab", true)
	require.NoError(t, err)
	require.Equal(t, []int{5, 4, 0, 2, 5, 3}, ids)
	text, err := tok.Decode(ids, true)
	require.NoError(t, err)
	require.Equal(t, "abba ab", text)
	token, ok := tok.Token(5)
	require.True(t, ok)
	require.Equal(t, "<s>", token)
	id, ok := tok.ID("ab")
	require.True(t, ok)
	require.Equal(t, 3, id)
	for _, id := range []int{-1, 6, 1 << 30} {
		_, ok = tok.Token(id)
		require.False(t, ok)
	}
}

func TestLoadErrors(t *testing.T) {
	split := `{"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Isolated", "invert": false}`
	regex := func(re string) [2]string { return [2]string{`{"Regex": "\\s+"}`, `{"Regex": "` + re + `"}`} }
	cases := []struct {
		name   string
		change [2]string
		want   string
	}{
		{"cut off", [2]string{small[100:], ""}, `/added_tokens/0 bad JSON at byte 100: unexpected EOF`},
		{"another version", [2]string{`"1.0"`, `"2.0"`}, `/version is "2.0", expected "1.0"`},
		{"unknown key", [2]string{`"truncation"`, `"cutting"`}, `the file has the option "cutting", which is not supported`},
		{"key twice", [2]string{`"truncation"`, `"padding"`}, `the file has the key "padding" twice`},
		{"token twice", [2]string{`"b": 1`, `"a": 1`}, `/model/vocab has the key "a" twice`},
		{"wrong type", [2]string{`"id": 5`, `"id": "5"`}, `/added_tokens/0/id does not fit int`},

		{"model", [2]string{`"BPE"`, `"WordPiece"`}, `/model has type "WordPiece", which is not supported; known: BPE`},
		{"no model type", [2]string{`"type": "BPE", `, ``}, `/model has no type`},
		{"no model", [2]string{`"model": {"type": "BPE"`, `"model": null, "x": {"type": "BPE"`}, `the file has the option "x", which is not supported`},
		{"model option", [2]string{`"fuse_unk": false`, `"fuse_unk": false, "shuffle": 1`}, `/model has the option "shuffle", which is not supported`},
		{"dropout", [2]string{`"dropout": null`, `"dropout": 0.1`}, `/model/dropout is 0.1: random merges are not supported`},
		{"prefix", [2]string{`"continuing_subword_prefix": null`, `"continuing_subword_prefix": "##"`}, `/model/continuing_subword_prefix "##" is not supported`},
		{"suffix", [2]string{`"end_of_word_suffix": null`, `"end_of_word_suffix": "</w>"`}, `/model/end_of_word_suffix "</w>" is not supported`},
		{"unk", [2]string{`"unk_token": null`, `"unk_token": "<unk>"`}, `/model/unk_token "<unk>" is not in the vocabulary`},
		{"no vocabulary", [2]string{`{"a": 0, "b": 1, " ": 2, "ab": 3, "abb": 4}`, `{}`}, `/model/vocab is empty or missing`},
		{"id twice", [2]string{`"b": 1`, `"b": 0`}, `/model/vocab tokens "a" and "b" have the same id 0`},
		{"large id", [2]string{`"abb": 4`, `"abb": 4294967295`}, `/model/vocab token "abb" has id 4294967295, expected ids below 16777216`},
		{"negative id", [2]string{`"abb": 4`, `"abb": -1`}, `/model/vocab/abb does not fit uint32: invalid syntax`},
		{"merge", [2]string{`["ab", "b"]`, `["ab", "c"]`}, `/model/merges merge 1 of "ab" and "c": "c" is not in the vocabulary`},
		{"merged", [2]string{`["ab", "b"]`, `["ab", "a"]`}, `/model/merges merge 1 of "ab" and "a": "aba" is not in the vocabulary`},
		{"merge of three", [2]string{`["ab", "b"]`, `["a", "b", "b"]`}, `/model/merges/1 does not fit [2]string: too many array elements`},
		{"merge line", [2]string{`[["a", "b"], ["ab", "b"]]`, `["#version: 0.2", "a b", "abb"]`}, `/model/merges/2 is "abb", expected two tokens with a space between`},
		{"no merges", [2]string{`, "merges": [["a", "b"], ["ab", "b"]]`, ``}, `/model/merges is missing`},

		{"normalizer", [2]string{`"NFC"`, `"Lowercase"`}, `/normalizer has type "Lowercase", which is not supported; known: Sequence, NFC, NFD, NFKC, NFKD, Prepend, Replace`},
		{"normalizer inside", [2]string{`{"type": "NFC"}`, `{"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Precompiled"}]}`}, `/normalizer/normalizers/1 has type "Precompiled", which is not supported; known: Sequence, NFC, NFD, NFKC, NFKD, Prepend, Replace`},
		{"normalizer option", [2]string{`{"type": "NFC"}`, `{"type": "NFC", "fast": true}`}, `/normalizer has the option "fast", which is not supported`},
		{"replace", [2]string{`{"type": "NFC"}`, `{"type": "Replace", "pattern": {"Regex": " +"}, "content": "_"}`}, `/normalizer/pattern only a String that is not empty is supported`},

		{"pre-tokenizer", [2]string{split, `{"type": "BertPreTokenizer"}`}, `/pre_tokenizer has type "BertPreTokenizer", which is not supported; known: Sequence, Split, ByteLevel, Metaspace, Digits`},
		{"pre-tokenizer inside", [2]string{split, `{"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}]}`}, `/pre_tokenizer/pretokenizers/0 has type "Whitespace", which is not supported; known: Sequence, Split, ByteLevel, Metaspace, Digits`},
		{"behavior", [2]string{`"Isolated"`, `"Merged"`}, `/pre_tokenizer behavior is "Merged", expected Isolated, Removed, Contiguous, MergedWithPrevious or MergedWithNext`},
		{"no pattern", [2]string{`{"Regex": "\\s+"}`, `{"String": ""}`}, `/pre_tokenizer/pattern expected a Regex or String that is not empty`},
		{"metaspace", [2]string{split, `{"type": "Metaspace", "replacement": "ab"}`}, `/pre_tokenizer replacement is "ab", expected one character`},
		{"metaspace scheme", [2]string{split, `{"type": "Metaspace", "replacement": "_", "prepend_scheme": "last"}`}, `/pre_tokenizer prepend_scheme is "last", expected first, never or always`},
		{"metaspace prefix", [2]string{split, `{"type": "Metaspace", "replacement": "_", "add_prefix_space": false}`}, `/pre_tokenizer add_prefix_space false contradicts prepend_scheme "always"`},

		{"regex anchor", regex(`^a`), `/pre_tokenizer/pattern/Regex regex "^a": the anchor "^" is not supported at byte 0`},
		{"regex word", regex(`\\w+`), `/pre_tokenizer/pattern/Regex regex "\\w+": the escape "\\w" is not supported at byte 0`},
		{"regex property", regex(`a\\p{Alpha}`), `/pre_tokenizer/pattern/Regex regex "a\\p{Alpha}": the property "Alpha" is not supported at byte 1`},
		{"regex intersection", regex(`[a-z&&[^b]]`), `/pre_tokenizer/pattern/Regex regex "[a-z&&[^b]]": the && inside a class is not supported at byte 0`},
		{"regex subtraction", regex(`[a-z-[b]]`), `/pre_tokenizer/pattern/Regex regex "[a-z-[b]]": the bracket inside a class is not supported at byte 0`},
		{"regex class", regex(`[a`), `/pre_tokenizer/pattern/Regex regex "[a": the class does not end at byte 0`},
		{"regex brace", regex(`a{,3}`), `/pre_tokenizer/pattern/Regex regex "a{,3}": the quantifier "{,3}" is not supported at byte 1`},
		{"regex option", regex(`(?i)a`), `/pre_tokenizer/pattern/Regex regex "(?i)a": the group "(?i)" is not supported at byte 0`},
		{"regex fold", regex(`(?i:miss)`), `/pre_tokenizer/pattern/Regex regex "(?i:miss)": the group "(?i:" is not supported at byte 0`},
		{"regex syntax", regex(`(a`), "/pre_tokenizer/pattern/Regex regex \"(a\": error parsing regexp: missing closing ) in `(a`"},
		{"regex quantifiers", regex(`a{1,2}+`), "/pre_tokenizer/pattern/Regex regex \"a{1,2}+\": the quantifier \"{1,2\" is not supported at byte 1"},
		{"regex nested", regex(`a+?*`), "/pre_tokenizer/pattern/Regex regex \"a+?*\": the quantifier \"+?*\" is not supported at byte 1"},

		{"post-processor", [2]string{`"TemplateProcessing"`, `"RobertaProcessing"`}, `/post_processor has type "RobertaProcessing", which is not supported; known: Sequence, ByteLevel, TemplateProcessing`},
		{"template token", [2]string{`{"SpecialToken": {"id": "<s>"`, `{"SpecialToken": {"id": "</s>"`}, `/post_processor/single/0 special token "</s>" is not in special_tokens`},
		{"template text", [2]string{`{"id": "A"`, `{"id": "B"`}, `/post_processor/single/1 expected a SpecialToken or the Sequence A`},
		{"template id", [2]string{`"ids": [5]`, `"ids": [6]`}, `/post_processor adds the token id 6, which is not in the vocabulary`},

		{"decoder", [2]string{`"Fuse"`, `"WordPiece"`}, `/decoder has type "WordPiece", which is not supported; known: Sequence, ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace`},
		{"decoder inside", [2]string{`{"type": "Fuse"}`, `{"type": "Sequence", "decoders": [{"type": "CTC"}]}`}, `/decoder/decoders/0 has type "CTC", which is not supported; known: Sequence, ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace`},
		{"strip", [2]string{`{"type": "Fuse"}`, `{"type": "Strip", "content": "", "start": 1, "stop": 0}`}, `/decoder expected one character as content, and start and stop from 0`},

		{"added id", [2]string{`"id": 5`, `"id": 7`}, `/added_tokens added token "<s>" has id 7, but the tokenizers library gives it 5`},
		{"added id of the vocabulary", [2]string{`"content": "<s>"`, `"content": "ab"`}, `/added_tokens added token "ab" has id 5, but the tokenizers library gives it 3`},
		{"added twice", [2]string{`"special": true}]`, `"special": true}, {"id": 6, "content": "<s>"}]`}, `/added_tokens added token "<s>" appears twice`},
		{"added alike", [2]string{`"special": true}]`, `"special": true}, {"id": 6, "content": "\u00c5", "normalized": true}, {"id": 7, "content": "\u212b", "normalized": true}]`}, "/added_tokens added tokens \"\u00c5\" and \"\u212b\" are the same once normalized"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			require.Contains(t, small, c.change[0])
			_, err := Load("t.json", []byte(strings.Replace(small, c.change[0], c.change[1], 1)))
			require.EqualError(t, err, "t.json: "+c.want)
		})
	}
}

// What would take memory or time without end is refused when it is loaded.
func TestLoadBounds(t *testing.T) {
	nfc := `{"type": "NFC"}`
	nest := func(n int, open, inner string) string {
		return strings.Repeat(open, n) + inner + strings.Repeat("]}", n)
	}
	double := `{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}`
	for normalizer, want := range map[string]string{
		nest(15, `{"type": "Sequence", "normalizers": [`, nfc):                                            "",
		nest(4900, `{"type": "Sequence", "normalizers": [`, nfc):                                          "is nested more than 16 deep",
		`{"type": "Sequence", "normalizers": [` + strings.Repeat(double+", ", 40) + nfc + `]}`:            "makes a text 1000 times as long or more",
		`{"type": "Replace", "pattern": {"String": "a"}, "content": "` + strings.Repeat("x", 2000) + `"}`: "makes a text 1000 times as long or more",
		`{"type": "Prepend", "prepend": "` + strings.Repeat("x", 2000) + `"}`:                             "has 2000 bytes, expected at most 1000",
		`{"type": "Sequence", "normalizers": [` + double + ", " + double + `]}`:                           "",
	} {
		_, err := Load("t.json", []byte(strings.Replace(small, nfc, normalizer, 1)))
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
	pre := `{"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Isolated", "invert": false}`
	require.Contains(t, small, pre)
	_, err := Load("t.json", []byte(strings.Replace(small, pre, nest(4900, `{"type": "Sequence", "pretokenizers": [`, pre), 1)))
	require.ErrorContains(t, err, "is nested more than 16 deep")
	_, err = Load("t.json", []byte(strings.Replace(small, `{"type": "Fuse"}`, nest(4900, `{"type": "Sequence", "decoders": [`, `{"type": "Fuse"}`), 1)))
	require.ErrorContains(t, err, "is nested more than 16 deep")
}

// A quarter of a million added tokens are looked up, not gone through.
func TestManyAdded(t *testing.T) {
	tok, err := Load("t.json", []byte(small))
	require.NoError(t, err)
	var tokens []AddedToken
	for i := range 250_000 {
		tokens = append(tokens, AddedToken{ID: 6 + i, Content: fmt.Sprintf("<x%d>", i)})
	}
	require.NoError(t, tok.AddTokens(tokens))
	ids, err := tok.Encode("a<x249999><x24999>"+strings.Repeat("<", 100_000), false)
	require.NoError(t, err)
	require.Equal(t, []int{0, 6 + 249_999, 6 + 24_999}, ids)
}

func TestEncodeErrors(t *testing.T) {
	tok, err := Load("t.json", []byte(small))
	require.NoError(t, err)
	_, err = tok.Encode("a\ufffd\xffb", false)
	require.EqualError(t, err, "the text is not UTF-8 (byte 4)")
	for _, id := range []int{-1, 6, 1 << 30} {
		_, err = tok.Decode([]int{0, id}, false)
		require.ErrorContains(t, err, "is not in the tokenizer's vocabulary of 6 tokens")
	}
}

// A character without any token is lost, as in the library.
func TestNoToken(t *testing.T) {
	tok, err := Load("t.json", []byte(small))
	require.NoError(t, err)
	ids, err := tok.Encode("acb", false)
	require.NoError(t, err)
	require.Equal(t, []int{3}, ids)
}

func TestLossyUTF8(t *testing.T) {
	// Unicode 15, table 3-8 and the text around it.
	for in, want := range map[string]string{
		"abc":                               "abc",
		"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82":  "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd",
		"\xed\xa0\x80\xed\xbf\xbf\xed\xaf":  "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd",
		"\xf4\x91\x92\x93\xffA\x80\xbfB":    "\ufffd\ufffd\ufffd\ufffd\ufffdA\ufffd\ufffdB",
		"\xe1\x80\xe2\xf0\x91\x92\xf1\xbfA": "\ufffd\ufffd\ufffd\ufffdA",
		"a\xe2\x82":                         "a\ufffd",
	} {
		require.Equal(t, want, lossyUTF8([]byte(in)), "%x", in)
	}
}
