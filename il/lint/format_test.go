package lint

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/tensor"
)

var (
	formatFile  = regexp.MustCompile("(?s)```\n((?:session|batches|step_)[^\n]*)\n(.*?)\n```\n")
	formatSaved = regexp.MustCompile(`^torch\.save\(torch\.tensor\((\[.*\])(?:, dtype=torch\.(\w+))?\)\)$`)
)

// The session on the page that describes the format is one, and nothing is wrong with
// it.
func TestFormatPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "format.md"))
	require.NoError(t, err)
	dir := t.TempDir()
	files := formatFile.FindAllStringSubmatch(string(page), -1)
	require.Len(t, files, 7)
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f[1]))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		if saved := formatSaved.FindStringSubmatch(f[2]); saved != nil {
			require.NoError(t, pt.WriteFile(path, tensorOf(t, saved[1], saved[2])))
			continue
		}
		require.NoError(t, os.WriteFile(path, []byte(f[2]+"\n"), 0o666))
	}
	s, err := il.Open(dir)
	require.NoError(t, err)
	require.Empty(t, s.Warnings)
	require.Empty(t, s.Unfinished())
	require.Equal(t, il.VariantA, s.Variant)
	require.Equal(t, provenance.Complete, s.Provenance().Status)
	require.Equal(t, []string{"a"}, s.Batch(0).ReqIDs)
	require.Empty(t, requests.Contradicted(s))
	r, err := Session(context.Background(), s, Options{})
	require.NoError(t, err)
	require.Equal(t, 2, r.Checked.Tensors)
	require.Zero(t, r.Count(Error)+r.Count(Warning), r.Findings)
	c := s.Call(0, "model.embed_tokens", 0)
	for _, d := range []il.Direction{il.Inputs, il.Outputs} {
		_, err := c.Values(d)
		require.NoError(t, err)
	}
}

// tensorOf is torch.tensor of nested lists.
func tensorOf(t *testing.T, list, dtype string) *tensor.Tensor {
	var rows [][]float64
	if json.Unmarshal([]byte(list), &rows) == nil {
		var v []float64
		for _, r := range rows {
			v = append(v, r...)
		}
		x := tensor.New(tensor.Float32, len(rows), len(rows[0]))
		tensor.StoreFloat64(x.Data, x.DType, v)
		return x
	}
	var ints []int
	require.NoError(t, json.Unmarshal([]byte(list), &ints))
	d, ok := tensor.ParseDType(dtype)
	require.True(t, ok, dtype)
	return tensor.FromInts(d, ints, len(ints))
}

// Every member of session.json and batches.jsonl that is read is on the page.
func TestFormatPageNamesEveryMember(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "format.md"))
	require.NoError(t, err)
	tags := regexp.MustCompile("`json:\"(\\w+)")
	for _, file := range []string{"provenance.go", "batches.go"} {
		source, err := os.ReadFile(filepath.Join("..", "provenance", file))
		require.NoError(t, err)
		text, _, _ := strings.Cut(string(source), "// Derived tells what") // of ilref alone
		found := tags.FindAllStringSubmatch(text, -1)
		require.NotEmpty(t, found)
		for _, m := range found {
			require.Regexp(t, `\b`+m[1]+`\b`, string(page))
		}
	}
}
