package ref

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/internal/terminal"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// Arithmetic is what a session says of the arithmetic that it was computed in.
type Arithmetic struct {
	Rounding nn.Rounding  // "" where it does not say
	DType    tensor.DType // Invalid where it does not say
	Engine   string       // what says so, for messages: "vllm 0.11.0"
	Notes    []string     // what no profile here has, a line each
}

// ArithmeticOf reads it from a session's provenance, nil for none. recorded is the type
// of the session's activations, Invalid for unknown, which counts more.
func ArithmeticOf(p *provenance.Record, recorded tensor.DType) Arithmetic {
	if p == nil {
		return Arithmetic{}
	}
	a := Arithmetic{Engine: strings.TrimSpace(p.Engine.Name + " " + p.Engine.Version)}
	if d, ok := tensor.ParseDType(p.Model.DType); ok && computable(d) {
		a.DType = d
		if recorded != tensor.Invalid && recorded != d {
			a.DType = recorded
			a.note("it says that the model's dtype is %s, but its activations are %s, which count", d, recorded)
		}
	}
	var why string
	switch a.Rounding, why = profileOf(p); {
	case why != "":
		a.note("%s", why)
	case a.Rounding == "" && p.Engine.Name != "" && p.Engine.Name != EngineName:
		a.note("no rounding profile is known for %s: --rounding chooses one", a.Engine)
	}
	a.noteKernels(p)
	return a
}

func (a *Arithmetic) note(format string, args ...any) {
	a.Notes = append(a.Notes, fmt.Sprintf(format, args...))
}

func computable(d tensor.DType) bool {
	_, err := nn.NewNumerics(d, nn.VLLM2025, 1)
	return err == nil
}

// known reports whether there is a rounding profile of a name.
func known(r nn.Rounding) bool {
	_, err := nn.NewNumerics(tensor.BFloat16, r, 1)
	return r != "" && err == nil
}

// profileOf finds the rounding profile of an engine: that which it names itself
// (ilref), that of its version (vLLM), or one that has the engine's name. why says what
// the profile has otherwise than the engine.
func profileOf(p *provenance.Record) (r nn.Rounding, why string) {
	switch e := p.Engine; {
	case e.Name == EngineName && known(nn.Rounding(e.Rounding)):
		return nn.Rounding(e.Rounding), ""
	case e.Name == "vllm":
		return vllmProfile(e.Version)
	}
	return namedProfile(p.Engine.Name, p.Kernels.Attention), ""
}

// namedProfile is the profile that has an engine's name, with that of the only
// implementation of attention behind it where there is such one.
func namedProfile(engine string, attention map[string]provenance.Attention) nn.Rounding {
	if len(attention) == 1 {
		for backend := range attention {
			if r := nn.Rounding(engine + "-" + backend); known(r) {
				return r
			}
		}
	}
	if r := nn.Rounding(engine); known(r) {
		return r
	}
	return ""
}

// vllmProfile is the profile of a release of vLLM. Its kernels changed with commits
// 4d51588e23 (2026-04-26: RMSNorm and rope round once; in 0.20, issue 42325 of vLLM),
// 124fac10cb (2026-05-29: RMSNorm rounds twice again; in 0.23) and its revert 225936a1dd
// (2026-06-18; in 0.24).
func vllmProfile(version string) (r nn.Rounding, why string) {
	major, minor, build, ok := releaseOf(version)
	switch {
	case !ok && version == "":
		return "", "it does not name vLLM's version, which decides the rounding profile: --rounding chooses one"
	case !ok:
		return "", fmt.Sprintf("vLLM %q is no version that a rounding profile follows from: --rounding chooses one", version)
	case build && major == 0 && (minor == 19 || minor == 20):
		return nn.VLLM2025, fmt.Sprintf("vLLM %s was built between releases, at about the change of RMSNorm and rope on 2026-04-26: vllm-2025 is taken, from that day on it is --rounding vllm-2026", version)
	case build && major == 0 && minor == 22, major == 0 && minor == 23:
		return nn.VLLM2026, fmt.Sprintf("vLLM %s: from 2026-05-29 to 2026-06-18 RMSNorm rounded as in vllm-2025 and rope as in vllm-2026, which no profile has: vllm-2026 is taken, and RMSNorm may be off by a rounding", version)
	case major == 0 && minor < 20:
		return nn.VLLM2025, ""
	}
	return nn.VLLM2026, ""
}

// releaseOf reads "0.11.0", "v0.11.2rc1" or "0.19.2rc1.dev24+g4d51588e2"; build tells
// that it is one between releases.
func releaseOf(version string) (major, minor int, build, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return 0, 0, false, false
	}
	major, err1 := strconv.Atoi(parts[0])
	digits := parts[1][:len(parts[1])-len(strings.TrimLeft(parts[1], "0123456789"))]
	minor, err2 := strconv.Atoi(digits)
	// A checkout without tags is 0.1.dev….
	ok = err1 == nil && err2 == nil && major >= 0 && (major > 0 || minor >= 6)
	return major, minor, strings.Contains(version, ".dev"), ok
}

// noteKernels tells of what was computed otherwise than any profile does.
func (a *Arithmetic) noteKernels(p *provenance.Record) {
	native := p.Kernels.CustomOps["RMSNorm"]["forward_native"] > 0
	for _, op := range []string{"rms_norm", "fused_add_rms_norm"} {
		order := string(p.Kernels.IROpPriority) // JSON, or as Python writes it
		native = native || strings.Contains(order, `"`+op+`":["native"`) || strings.Contains(order, op+`=['native'`)
	}
	if native {
		a.note("its RMSNorm ran as PyTorch's operations (native), which add the residual without rounding: no profile does, norms may be off by a rounding")
	}
	if kv := p.Model.KVCacheDType; kv != "" && kv != "auto" && kv != p.Model.DType {
		a.note("its KV cache is %s: here keys and values are kept in the model's type, so that attention lacks that rounding", short(kv))
	}
	if q := p.Model.Quantization; q != "" && q != "none" {
		a.note("its weights were quantised (%s): the checkpoint's are taken as they are", short(q))
	}
}

// short is a word of a file for a message.
func short(s string) string { return terminal.Printable(terminal.Cut(s, 40)) }
