package main

import (
	"fmt"
	"io"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/internal/cli"
	"github.com/ilref/ilref/internal/terminal"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/tensor"
)

// takeArithmetic takes dtype and rounding profile from the session that is run again,
// where it says them and the command line does not. checkpoint is the type that the
// checkpoint says, Invalid for none.
func (f *runFlags) takeArithmetic(checkpoint tensor.DType, stderr io.Writer) {
	a := ref.ArithmeticOf(f.recorded.Provenance(), ref.ActivationDType(f.recorded))
	for _, n := range a.Notes {
		warn(stderr, f.recorded.Dir+": "+n)
	}
	if f.dtype == "auto" && a.DType != tensor.Invalid {
		f.dtype = a.DType.String()
		if a.DType != checkpoint {
			fmt.Fprintf(stderr, "ilref: computing in %s, as %s says (--dtype chooses another type)\n", a.DType, f.source())
		}
	}
	if f.rounding == auto && a.Rounding != "" {
		f.rounding = string(a.Rounding)
		if a.Rounding != nn.RoundingOf(f.recorded.EngineByNames()) {
			fmt.Fprintf(stderr, "ilref: rounding as %s does, for %s says that it is of %s (--rounding chooses another profile)\n", a.Rounding, f.source(), terminal.Printable(a.Engine))
		}
	}
}

// source names the session's provenance.
func (f *runFlags) source() string {
	return terminal.Printable(f.recorded.Dir) + "/" + provenance.FileName
}

// provenance says how a session is made; from is what it follows from, nil for none.
func (f *runFlags) provenance(what provenance.Derivation, from *il.Session, ckpt *model.Checkpoint, engine *ref.Engine) (*provenance.Record, error) {
	r, err := engine.Provenance(ckpt, cli.Version())
	if err != nil || from == nil {
		return r, err
	}
	lag := 1 // the steps are those that were read
	r.Run.LogitsLag = &lag
	r.Derived = provenance.Derived{What: what, Session: from.Fingerprint(), DType: r.Model.DType, Rounding: r.Engine.Rounding}
	r.Derived.Checkpoint, err = ckpt.Digest()
	return r, err
}
