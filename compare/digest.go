package compare

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// digest stands for all bits of a tensor, its type and its shape.
func digest(f *il.TensorFile) (string, error) {
	h := sha256.New()
	err := withTensor(f, func(t *tensor.Tensor) error {
		fmt.Fprintf(h, "%s %v\n", t.DType, t.Shape)
		return t.Chunks(0, func(b []byte) error { h.Write(b); return nil })
	})
	return hex.EncodeToString(h.Sum(nil)[:16]), err
}

// digests answers sameDigests for a pair, as far as the judge can ask: of outputs,
// and of inputs that differ.
func (p *slotPair) digests() error {
	if p.Direction == postFwdInputs || p.Direction == inputs && (isInteger(p.result) || p.result.Gap.Identical()) {
		return nil
	}
	for side, s := range []*il.Slot{p.ref, p.target} {
		var err error
		if p.bits[side], err = digest(s.Tensors[0]); err != nil {
			return err
		}
	}
	return nil
}

// suspicion is how likely a tensor turns out to be at fault, as far as its part
// can tell.
type suspicion int

const (
	innocent  suspicion = iota // it cannot be
	unlikely                   // only if equal bits in another part give it away
	suspected                  // unless a call of another part excuses it
)

func (o *Options) suspicionOf(f *forward, c *call, p *slotPair, finding string) suspicion {
	switch t := p.result; {
	case t == nil:
		return innocent
	case t.Verdict == Fail || finding != "":
		return suspected
	case t.Gap.Identical() || f.work != sameWork || o.Bounds.set() || p.bounds != nil || p.Direction != inputs && len(c.children) == 0:
		return innocent
	}
	return unlikely
}

// judgeAlone judges a part as if nothing before excused its tensors, and finds
// what their inputs hand on.
func (c *comparison) judgeAlone() {
	r := newReport(c.rawRef, c.rawTarget, c.forwards)
	if c.opts.Bounds.set() {
		judgeBounds(r, c.forwards, c.opts.Bounds)
		return
	}
	j := newNoiseJudge(r, c.layers, &c.opts.Evidence)
	j.alone = true
	j.judge(c.forwards)
}
