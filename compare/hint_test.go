package compare

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/report"
)

// The fixtures' faults, two sessions alone.
func TestHintsOfFixtures(t *testing.T) {
	for _, c := range []struct{ ref, target, want string }{
		{base, base + "-fault-rope_theta", "rope theta or rope scaling: position 0 is right, the error grows with the position, and the length of every rotated pair (i, i+4) is kept"},
		{base, base + "-fault-kv_swapped", "k and v in the other order: the two halves of columns 64 to 95, the others being right are swapped"},
		{base, base + "-fault-row_scale", "a wrong constant factor: the target is 1.02 times the reference"},
		{"gopher-1m-bf16", "gopher-1m-bf16-fault", "another activation function: the target's output is gelu"},
	} {
		t.Run(c.target, func(t *testing.T) {
			r := run(t, open(t, c.ref), open(t, c.target), Options{})
			require.Contains(t, r.FirstDivergence.Hint, c.want)
			for _, m := range r.Modules {
				require.Equal(t, m.Verdict == report.Fail && r.FirstDivergence.Module == m.Module, m.Hint != "", "%s: %s", m.Name(), m.Hint)
			}
		})
	}
}

// Each signature, made by changing one tensor of a good session.
func TestHints(t *testing.T) {
	good := open(t, base)
	ref := edited(t, good, func(string) {})
	const l1 = "model.layers.1"
	mod := func(f func(v []float64, row, col, cols int) float64, cols int) func([]float64) {
		return func(v []float64) {
			old := append([]float64(nil), v...)
			for i := range v {
				v[i] = f(old[i/cols*cols:i/cols*cols+cols], i/cols, i%cols, cols)
			}
		}
	}
	hash := func(i int) float64 { return float64((i*2654435761)>>7%1000)/500 - 1 }
	for _, c := range []struct {
		name, file, want string
		change           func([]float64)
	}{
		{"constant factor", l1 + ".mlp.down_proj/outputs_0", "a wrong constant factor: the target is 0.5 times", scaled(0.5)},
		{"factor of each token", l1 + ".input_layernorm/outputs_0", "the norm's eps, or the type it computes in", mod(func(r []float64, row, c, _ int) float64 { return r[c] * (1 + 0.01*float64(row)) }, 64)},
		{"bias", l1 + ".self_attn.o_proj/outputs_0", "a bias that is missing or added", mod(func(r []float64, _, c, _ int) float64 { return r[c] + hash(c) }, 64)},
		{"mean subtracted", l1 + ".post_attention_layernorm/outputs_0", "another kind of norm", mod(func(r []float64, row, c, _ int) float64 { return r[c] + (2+hash(c))*hash(row) }, 64)},
		{"gate and up", l1 + ".mlp.gate_up_proj/outputs_0", "gate and up in the other order: the two halves are swapped", mod(func(r []float64, _, c, n int) float64 { return r[(c+n/2)%n] }, 352)},
		{"heads", l1 + ".self_attn.attn/outputs", "heads in another order: the blocks of 16 columns", mod(func(r []float64, _, c, n int) float64 { return r[[4]int{2, 0, 1, 3}[c/16]*16+c%16] }, 64)},
		{"one head", l1 + ".self_attn.attn/outputs", "a block of heads (one rank's, or which kv head a query head reads): only columns 32 to 47 of 64", mod(func(r []float64, row, c, _ int) float64 {
			if c/16 == 2 {
				return r[c] + hash(row*64+c)
			}
			return r[c]
		}, 64)},
		{"reversed", l1 + ".self_attn.o_proj/outputs_0", "permuted rows of the weight", mod(func(r []float64, _, c, n int) float64 { return r[n-1-c] }, 64)},
		{"rope style", l1 + "/../model.layers.0.self_attn.rotary_emb_1/outputs_0", "rope style", mod(func(r []float64, row, c, _ int) float64 {
			s, k := math.Sincos(0.7 * float64(row))
			if c%2 == 0 {
				return r[c]*k - r[c+1]*s
			}
			return r[c]*k + r[c-1]*s
		}, 64)},
		{"one row", l1 + ".mlp.down_proj/outputs_0", "one row (a padding row, or a slot that another request wrote): only row 4 (request 0, position 4, token ", mod(func(r []float64, row, c, _ int) float64 {
			if row == 4 {
				return r[c] + hash(c)
			}
			return r[c]
		}, 64)},
		{"zero row", l1 + ".mlp.down_proj/outputs_0", "a row that was not written: row 4 (request 0, position 4, token ", mod(func(r []float64, row, c, _ int) float64 {
			if row == 4 {
				return 0
			}
			return r[c]
		}, 64)},
		{"window", l1 + ".self_attn.attn/outputs", "a window, mask or context limit of about 6: positions up to 5 are right, from 6 on they are wrong", mod(func(r []float64, row, c, _ int) float64 {
			if row >= 6 {
				return r[c] + hash(row*64+c)
			}
			return r[c]
		}, 64)},
		{"attention scale", l1 + ".self_attn.attn/outputs", "attention's scale, soft cap or mask", mod(func(r []float64, row, c, _ int) float64 {
			return r[c] + 0.1*float64(row)*hash(row*64+c)
		}, 64)},
		{"NaN", l1 + ".self_attn.attn/outputs", "memory that was not written, or a single broken value: what is not finite begins here, in 1 value of the target, first in row 1 (request 0, position 1, token ", func(v []float64) { v[70] = nan }},
		{"quantized", l1 + ".mlp.down_proj/outputs_0", "quantized values: the target's have 2 bits after the first, as float8_e5m2", func(v []float64) {
			for i, x := range v {
				f, e := math.Frexp(x)
				v[i] = math.Ldexp(math.Round(f*8)/8, e)
			}
		}},
		{"noise", l1 + ".mlp.down_proj/outputs_0", "a quantized weight or a broken kernel: noise of", mod(func(r []float64, row, c, _ int) float64 { return r[c] * (1 + 0.05*hash(row*64+c)) }, 64)},
		{"embedding row", "model.embed_tokens/outputs", "a wrong row of the embedding: token ", mod(func(r []float64, row, c, _ int) float64 {
			if row == 2 {
				return r[c] * 1.5
			}
			return r[c]
		}, 64)},
		{"positions", "model.layers.0/inputs_0", "positions are counted from another start: every one is off by +1", func(v []float64) {
			for i := range v {
				v[i]++
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, ref, edited(t, good, func(dir string) { rewrite(t, filepath.Clean(file(dir, "step_0", c.file)), c.change) }), Options{})
			require.NotNil(t, r.FirstDivergence)
			require.Contains(t, r.FirstDivergence.Hint, c.want)
		})
	}
	// Of the next step: attention that reads the cache, and the output head.
	for _, c := range []struct{ file, want string }{
		{l1 + ".self_attn.attn/outputs", "the kv cache (its dtype, slots or block table): this module is right in earlier steps"},
		{"logits_processor/outputs", "the output head (stale, or tied to other weights)"},
	} {
		r := run(t, ref, edited(t, good, func(dir string) { rewrite(t, file(dir, "step_1", c.file), noisy(0.2)) }), Options{})
		require.NotNil(t, r.FirstDivergence)
		require.Contains(t, r.FirstDivergence.Hint, c.want)
	}
}
