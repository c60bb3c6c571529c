package il_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/tensor"
)

// The values of a session's tensors are read inside With: they lie in the file,
// and a run that is still going, or a full disk, may cut it short.
func ExampleTensorFile_With() {
	dir, err := os.MkdirTemp("", "session")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	call := filepath.Join(dir, "step_0", "model.norm")
	file := fixture.CraftTensor("BFloat16Storage", 2, []uint64{1, 2}, []uint64{2, 1}, 0, []byte{0x80, 0x3f, 0, 0x40})
	if err := os.MkdirAll(call, 0o777); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(call, "outputs_cuda_0.pt"), file, 0o666); err != nil {
		log.Fatal(err)
	}

	s, err := il.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	for _, slot := range s.Call(0, "model.norm", 0).Slots {
		err := slot.Tensors[0].With(func(t *tensor.Tensor) error {
			values := make([]float64, t.Numel())
			if err := t.Float64s(values, 0); err != nil {
				return err
			}
			fmt.Println(slot.Direction, t, values)
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	// Output: outputs bfloat16[1,2] [1 2]
}
