// Package gopher1m holds the bundled model: a Llama of one million parameters,
// trained on Go source, with its byte-level BPE tokenizer. It is small enough
// to be part of the program, so that everything works without a download.
package gopher1m

import (
	"embed"
	"io/fs"
)

// Name is what messages call the model.
const Name = "gopher-1m"

//go:embed files
var files embed.FS

// FS returns the model's folder: config.json, generation_config.json,
// model.safetensors, tokenizer.json and tokenizer_config.json.
func FS() fs.FS {
	sub, err := fs.Sub(files, "files")
	if err != nil {
		panic(err) // the path is a constant
	}
	return sub
}
