package topology

import (
	"strconv"
	"strings"
)

// layersPrefix is what stands before a layer's number.
const layersPrefix = "model.layers."

// Place is where a module is in a model.
type Place struct {
	Prefix string // what stands before the number of the layer: "model.layers."; "" outside layers
	Layer  int    // -1 outside layers
	Rel    string // the name within the layer, "self_attn.qkv_proj", "" for the layer itself; outside layers the whole name
}

// Locate finds the first "layers.N" (or "h.N") of a module's name.
func Locate(module string) Place {
	for at := 0; at < len(module); {
		word, rest, _ := strings.Cut(module[at:], ".")
		next := at + len(word) + 1
		if word == "layers" || word == "h" {
			number, after, _ := strings.Cut(rest, ".")
			if n, ok := layerNumber(number); ok {
				return Place{module[:next], n, after}
			}
		}
		at = next
	}
	return Place{Layer: -1, Rel: module}
}

func layerNumber(s string) (int, bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 32)
	return int(n), err == nil
}

// Name is the module's name.
func (p Place) Name() string {
	switch {
	case p.Layer < 0:
		return p.Rel
	case p.Rel == "":
		return p.Prefix + strconv.Itoa(p.Layer)
	}
	return p.Prefix + strconv.Itoa(p.Layer) + "." + p.Rel
}

// Pattern is the name with N for the number of the layer, the same for the
// modules of all layers: "model.layers.N.mlp".
func (p Place) Pattern() string {
	switch {
	case p.Layer < 0:
		return p.Rel
	case p.Rel == "":
		return p.Prefix + "N"
	}
	return p.Prefix + "N." + p.Rel
}

// IsLayer reports whether the place is a whole layer.
func (p Place) IsLayer() bool { return p.Layer >= 0 && p.Rel == "" }

// InDecoder reports whether the place is in a layer of the decoder, not in one
// of a vision tower or another part of a model.
func (p Place) InDecoder() bool { return p.Layer >= 0 && p.Prefix == layersPrefix }

// IsEmbedding reports whether a module is the embedding of the tokens, which GPT-OSS
// calls otherwise.
func IsEmbedding(module string) bool {
	return module == EmbedTokensName || module == GptOssEmbeddingName
}

// LastWord is the last component of a module's name: the attribute that its
// parent holds it under.
func LastWord(module string) string { return module[strings.LastIndexByte(module, '.')+1:] }

// Parent is the name of the module that holds a module, "" for a root's child.
func Parent(module string) string { return module[:max(0, strings.LastIndexByte(module, '.'))] }

// AttentionBeside names the attention and the output projection beside a
// packed projection of queries, keys and values.
func AttentionBeside(qkvProj string) (attn, oProj string) {
	block := Parent(qkvProj) + "."
	return block + LastWord(AttnName), block + LastWord(OProjName)
}
