package pt

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// legacyFile puts a legacy file together: the object's pickle, the keys' one,
// and the storages.
func legacyFile(object, keys string, storages ...[]byte) []byte {
	b := []byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02" + object + ".\x80\x02" + keys + ".")
	for _, s := range storages {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(s)/4))
		b = append(b, s...)
	}
	return b
}

// legacyPickled is pickled with a view of the storage: None, or one given.
func legacyPickled(view string) string { return strings.Replace(pickled, "tQ", view+"tQ", 1) }

func TestLegacyViews(t *testing.T) {
	// A view of elements 1 and 2 of a root of 6: its tensors start there.
	view := strings.Replace(legacyPickled("(U\x0217K\x01K\x02t"), "K\x00K\x02K\x03\x86K\x03K\x01\x86", "K\x01K\x01\x85K\x01\x85", 1)
	data := []byte("aaaabbbbccccddddeeeeffff")
	got, err := parseBytes(legacyFile("("+view+view+legacyPickled("N")+"t", "](U\x010e", data))
	require.NoError(t, err)
	require.Len(t, got, 3)
	require.Equal(t, "cccc", string(got[0].Tensor.Bytes()))
	require.Equal(t, "cccc", string(got[1].Tensor.Bytes()))
	require.Len(t, got[0].Tensor.Data, 8)
	require.Equal(t, data, got[2].Tensor.Bytes())
}

func TestLegacyErrors(t *testing.T) {
	data := make([]byte, 24)
	object := legacyPickled("N")
	good := legacyFile(object, "](U\x010e", data)
	_, err := parseBytes(good)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"zip id":        {legacyFile(pickled, "](U\x010e", data), `the id of a storage is not ("storage", class, key, location, numel)`},
		"no keys":       {legacyFile(object, "]"), "no elements for storage 0"},
		"keys no list":  {legacyFile(object, "}"), "the keys of the storages are a dict, want a list"},
		"key no string": {legacyFile(object, "](K\x00e", data), "the list of keys has 0, which is no storage of a tensor, or twice"},
		"header cut":    {good[:len(good)-28], "the file is cut short before storage 0"},
		"protocol":      {[]byte(strings.Replace(string(good), "M\xe9\x03", "M\xe8\x03", 1)), "protocol version 1000, want 1001"},
		"system":        {[]byte(strings.Replace(string(good), "\x80\x02}.", "\x80\x02cx\ny\n.", 1)), `"x" "y" is not expected here`},
		"view":          {legacyFile(legacyPickled("(U\x0217K\x01K\x06t"), "](U\x010e", data), "the view of storage 0 is 6 elements at 1, outside its 6"},
	} {
		_, err := parseBytes(c.file)
		require.ErrorContains(t, err, c.want, name)
	}
}
