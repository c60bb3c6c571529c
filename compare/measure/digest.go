package measure

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// digest stands for all bits of a tensor, its type and its shape.
func digest(f *il.TensorFile) (string, error) {
	h := sha256.New()
	err := f.With(func(t *tensor.Tensor) error {
		fmt.Fprintf(h, "%s %v\n", t.DType, t.Shape)
		return t.Chunks(0, func(b []byte) error { h.Write(b); return nil })
	})
	return hex.EncodeToString(h.Sum(nil)[:16]), err
}

// Digests answers sameDigests for a pair, as far as the judge can ask: of outputs,
// and of inputs that differ.
func Digests(p *pairing.Pair) error {
	if p.Direction == report.PostFwdInputs || p.Direction == report.Inputs && (report.IsInteger(p.Result) || p.Result.Gap.Identical()) {
		return nil
	}
	for side, s := range []*il.Slot{p.Ref, p.Target} {
		var err error
		if p.Bits[side], err = digest(s.Tensors[0]); err != nil {
			return err
		}
	}
	return nil
}
