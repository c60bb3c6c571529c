package model

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/ilref/ilref/model/gopher1m"
	"github.com/stretchr/testify/require"
)

func TestTokenizer(t *testing.T) {
	c, err := OpenFS(gopher1m.Name, gopher1m.FS())
	require.NoError(t, err)
	tok, err := c.Tokenizer()
	require.NoError(t, err)
	require.Equal(t, c.Config.VocabSize, tok.VocabSize())
	// The prompt of the session gopher-1m-bf16 has 23 ids with the BOS.
	ids, err := tok.Encode("func (b *Buffer) Write(p []byte) (n int, err error) {\n", true)
	require.NoError(t, err)
	require.Len(t, ids, 23)
	require.Equal(t, c.Config.BOSTokenID, ids[0])
	require.Empty(t, c.Warnings)
}

func TestTokenizerConfig(t *testing.T) {
	open := func(config string) (*Checkpoint, []int, error) {
		m := folder(t, "gopher-1m")
		put("tokenizer_config.json", config)(m)
		c, err := OpenFS("m", m)
		require.NoError(t, err)
		tok, err := c.Tokenizer()
		if err != nil {
			return c, nil, err
		}
		return c, tok.Special(), nil
	}
	c, ids, err := open(`{"bos_token": "<|begin_of_text|>", "add_bos_token": true}`)
	require.NoError(t, err)
	require.Equal(t, []int{0}, ids)
	require.Empty(t, c.Warnings)

	c, ids, err = open(`{"eos_token": {"content": "<|end_of_text|>"}, "add_eos_token": true, "add_bos_token": false}`)
	require.NoError(t, err)
	require.Equal(t, []int{1}, ids)
	require.Equal(t, []string{"m/tokenizer_config.json: add_bos_token and add_eos_token put the ids [1] around a text, the tokenizer's own file would put [0]; the first counts"}, c.Warnings)

	c, _, err = open(`{"added_tokens_decoder": {"1024": {"content": "<|user|>", "special": true, "rstrip": true}, "0": {"content": "<|begin_of_text|>", "special": false}}}`)
	require.NoError(t, err)
	tok, err := c.Tokenizer()
	require.NoError(t, err)
	ids, err = tok.Encode("<|user|> a", true)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1024, 66}, ids)
	text, err := tok.Decode(ids, true)
	require.NoError(t, err)
	require.Equal(t, "<|begin_of_text|>a", text)

	_, _, err = open(`{"added_tokens_decoder": {"1025": {"content": "<|user|>"}}}`)
	require.EqualError(t, err, `m/tokenizer_config.json: /added_tokens_decoder: added token "<|user|>" has id 1025, but the tokenizers library gives it 1024`)
	_, _, err = open(`{"added_tokens_decoder": {"x": {}}}`)
	require.EqualError(t, err, `m/tokenizer_config.json:1:32: /added_tokens_decoder/x has a name that is no token id`)
	_, _, err = open(`{"bos_token": "<s>", "add_bos_token": true}`)
	require.EqualError(t, err, `m/tokenizer_config.json:1:15: /bos_token is "<s>", which is not in the tokenizer's vocabulary`)
	_, _, err = open(`{"add_bos_token": 1}`)
	require.EqualError(t, err, `m/tokenizer_config.json:1:19: /add_bos_token is 1, expected true or false`)
	_, _, err = open(`[]`)
	require.EqualError(t, err, `m/tokenizer_config.json:1:1: the file is an array, expected an object`)
}

func TestTokenizerModel(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("tokenizer", "testdata", "spm.model"))
	require.NoError(t, err)
	m := folder(t, "gopher-1m")
	drop("tokenizer.json", "tokenizer_config.json")(m)
	put("tokenizer.model", string(b))(m)
	c, err := OpenFS("m", m)
	require.NoError(t, err)
	tok, err := c.Tokenizer()
	require.NoError(t, err)
	require.Equal(t, []int{1}, tok.Special())

	put("tokenizer.model", "IQ== 0")(m)
	_, err = c.Tokenizer()
	require.EqualError(t, err, "m/tokenizer.model: not a SentencePiece model: the protobuf data ends inside a field")
}

func TestTokenizerErrors(t *testing.T) {
	open := func(change func(fstest.MapFS)) error {
		m := folder(t, "gopher-1m")
		change(m)
		c, err := OpenFS("m", m)
		require.NoError(t, err)
		_, err = c.Tokenizer()
		return err
	}
	require.EqualError(t, open(drop("tokenizer.json")), "m: the model folder has neither tokenizer.json nor tokenizer.model; give token ids instead of text")
	require.EqualError(t, open(edit("tokenizer.json", `"type": "BPE"`, `"type": "Unigram"`)), `m/tokenizer.json: /model has type "Unigram", which is not supported; known: BPE`)
}
