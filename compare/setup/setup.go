// Package setup finds in what the sessions of a comparison say that they were made
// otherwise: engine, kernels, environment, weights. What only one of them says is
// none.
package setup

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/internal/terminal"
)

const (
	maxValue       = 80  // bytes of a value as it is told
	maxDifferences = 200 // that are told; a file may name thousands of variables
)

// Differences compares what the sessions say of themselves, nil where one says
// nothing.
func Differences(ref, target *provenance.Record) []report.SetupDifference {
	if ref == nil || target == nil {
		return nil
	}
	f := &finder{}
	f.weights(ref.Weights, target.Weights)
	f.engine(&ref.Engine, &target.Engine)
	f.section(report.SetupModel, "model", model(ref), model(target))
	f.attention(ref.Kernels.Attention, target.Kernels.Attention)
	f.customOps(ref.Kernels.CustomOps, target.Kernels.CustomOps)
	f.section(report.SetupKernels, "kernels", kernels(ref), kernels(target))
	f.section(report.SetupExecution, "execution", flat(ref.Execution), flat(target.Execution))
	f.section(report.SetupParallel, "parallel", parallel(ref), parallel(target))
	f.section(report.SetupNumerics, "numerics", flat(ref.Numerics), flat(target.Numerics))
	f.section(report.SetupVersions, "versions", ref.Versions, target.Versions)
	if ref.Engine.Name == target.Engine.Name { // each engine has variables of its own
		f.env(ref.Env, target.Env)
	}
	return f.out[:min(len(f.out), maxDifferences)]
}

type finder struct{ out []report.SetupDifference }

func (f *finder) add(kind report.SetupKind, name, ref, target, format string, args ...any) {
	f.out = append(f.out, report.SetupDifference{
		Kind: kind, Name: short(name), Reference: short(ref), Target: short(target), Text: fmt.Sprintf(format, args...),
	})
}

// engine compares what ran the model.
func (f *finder) engine(r, t *provenance.Engine) {
	a, b := strings.TrimSpace(r.Name+" "+r.Version), strings.TrimSpace(t.Name+" "+t.Version)
	switch {
	case r.Name == "" || t.Name == "":
	case r.Name != t.Name || differ(r.Version, t.Version):
		f.add(report.SetupEngine, "engine", a, b, "the target was run by %s, the reference by %s", short(b), short(a))
	}
	if r.Name != t.Name { // whose commits and runners are other things
		return
	}
	for _, x := range []struct{ name, word, a, b string }{
		{"commit", "another commit", r.Commit, t.Commit},
		{"runner", "another runner", r.Runner, t.Runner},
		{"rounding", "another rounding profile", r.Rounding, t.Rounding},
	} {
		if differ(x.a, x.b) {
			f.add(report.SetupEngine, "engine."+x.name, x.a, x.b, "the target ran %s of %s: %s, the reference %s", x.word, short(t.Name), short(x.b), short(x.a))
		}
	}
}

// attention compares the backends.
func (f *finder) attention(r, t map[string]provenance.Attention) {
	if len(r) == 0 || len(t) == 0 {
		return
	}
	a, b := names(r), names(t)
	if a != b {
		f.add(report.SetupKernels, "kernels.attention", a, b, "the target ran another attention backend: %s, the reference %s", short(b), short(a))
		return
	}
	for _, k := range slices.Sorted(maps.Keys(r)) {
		x, y := r[k], t[k]
		for _, p := range []struct{ name, word, a, b string }{
			{"impl", "another implementation", x.Impl, y.Impl},
			{"fa_version", "another version of FlashAttention", string(x.FAVersion), string(y.FAVersion)},
			{"layers", "other layers", string(x.Layers), string(y.Layers)},
		} {
			if differ(p.a, p.b) {
				f.add(report.SetupKernels, "kernels.attention."+k+"."+p.name, p.a, p.b, "the target ran %s with %s: %s, the reference %s", short(k), p.word, short(p.b), short(p.a))
			}
		}
	}
}

// customOps compares which methods the modules of a class ran, not how many.
func (f *finder) customOps(r, t map[string]map[string]int) {
	for _, k := range slices.Sorted(maps.Keys(r)) {
		if a, b := names(r[k]), names(t[k]); differ(a, b) {
			f.add(report.SetupKernels, "kernels.custom_ops."+k, a, b, "%s ran %s in the target, %s in the reference", short(k), short(b), short(a))
		}
	}
}

// section compares the members that both sides say.
func (f *finder) section(kind report.SetupKind, name string, r, t map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(r)) {
		if differ(r[k], t[k]) {
			f.add(kind, name+"."+k, r[k], t[k], "%s", f.sentence(kind, k, r[k], t[k]))
		}
	}
}

func (f *finder) sentence(kind report.SetupKind, k, r, t string) string {
	switch kind {
	case report.SetupModel, report.SetupKernels, report.SetupParallel:
		word := strings.ReplaceAll(k, "_", " ")
		if k == "config_sha256" {
			return "the target's config.json is another than the reference's"
		}
		return fmt.Sprintf("the target's %s is %s, the reference's %s", short(word), short(t), short(r))
	}
	return fmt.Sprintf("%s %s in the target, %s in the reference", short(k), short(t), short(r))
}

// env compares variables; one that is not set is a value too.
func (f *finder) env(r, t map[string]string) {
	all := maps.Clone(r)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, t)
	said := func(m map[string]string, k string) string {
		if v, ok := m[k]; ok {
			return strconv.Quote(short(v))
		}
		return "not set"
	}
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if a, b := said(r, k), said(t, k); a != b {
			f.add(report.SetupEnv, "env."+k, r[k], t[k], "%s is %s in the target, %s in the reference", short(k), b, a)
		}
	}
}

// differ reports whether both sides say something, and not the same.
func differ(a, b string) bool { return a != "" && b != "" && a != b }

// names are the keys of a map, in order.
func names[T any](m map[string]T) string { return strings.Join(slices.Sorted(maps.Keys(m)), ", ") }

// short is a value for a line.
func short(s string) string { return terminal.Printable(terminal.Cut(s, maxValue)) }

// model is what both sides may say of the model. A KV cache of the model's own type is
// auto.
func model(p *provenance.Record) map[string]string {
	m := p.Model
	if m.KVCacheDType == "auto" {
		m.KVCacheDType = m.DType
	}
	if m.Quantization == "none" {
		m.Quantization = ""
	}
	return flat(m)
}

// kernels leaves out what has its own words.
func kernels(p *provenance.Record) map[string]string {
	k := p.Kernels
	k.Attention, k.CustomOps = nil, nil
	linear := k.Linear
	k.Linear = nil
	out := flat(k)
	if n := names(linear); n != "" {
		out["linear"] = n
	}
	return out
}

// parallel is how the model was spread, and on which devices.
func parallel(p *provenance.Record) map[string]string {
	x := p.Parallel
	x.Ranks, x.DPRank = nil, nil
	out := flat(x)
	for _, k := range []struct {
		name string
		of   func(provenance.Rank) string
	}{
		{"device", func(r provenance.Rank) string { return r.Device }},
		{"capability", func(r provenance.Rank) string { return string(r.Capability) }},
		{"driver", func(r provenance.Rank) string { return string(r.Driver) }},
	} {
		seen := map[string]bool{}
		for _, r := range p.Parallel.Ranks {
			if v := k.of(r); v != "" {
				seen[v] = true
			}
		}
		if n := names(seen); n != "" {
			out[k.name] = n
		}
	}
	return out
}

// flat is the members of a section as text, those of objects in it by a dot.
func flat(section any) map[string]string {
	out := map[string]string{}
	data, err := json.Marshal(section)
	if err == nil {
		flatten("", data, out)
	}
	return out
}

func flatten(path string, v jsontext.Value, out map[string]string) {
	switch v.Kind() {
	case '{':
		var members map[string]jsontext.Value
		if path != "" {
			path += "."
		}
		if json.Unmarshal(v, &members) == nil {
			for k, x := range members {
				flatten(path+k, x, out)
			}
		}
	case '"':
		b, _ := jsontext.AppendUnquote(nil, v)
		out[path] = string(b)
	default:
		out[path] = string(v)
	}
}
