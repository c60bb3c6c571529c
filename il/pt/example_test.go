package pt_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/internal/fixture"
)

// Values are read inside With: a file that is cut short meanwhile is an error.
func ExampleFile_With() {
	dir, err := os.MkdirTemp("", "pt")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "x.pt")
	if err := os.WriteFile(path, fixture.CraftTensor("LongStorage", 8, []uint64{1}, []uint64{1}, 0, []byte{7, 0, 0, 0, 0, 0, 0, 0}), 0o666); err != nil {
		log.Fatal(err)
	}

	f, err := pt.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	err = f.With(func(tensors []pt.Named) error {
		for _, n := range tensors {
			v, err := n.Tensor.Ints()
			if err != nil {
				return err
			}
			fmt.Println(n.Tensor, v)
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: int64[1] [7]
}
