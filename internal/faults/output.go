package faults

import (
	"math"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// outputFaults change what a module returns.
func outputFaults() []Fault {
	scale := func(x float64) func(*Run, *tensor.Tensor) {
		return func(_ *Run, t *tensor.Tensor) {
			edit(t, func(_ int, v []float64) {
				for i := range v {
					v[i] *= x
				}
			})
		}
	}
	at := func(name, what, hint string, where Place, f func(*Run, *tensor.Tensor)) Fault {
		return Fault{Name: name, What: what, Hint: hint, Where: where, Inject: leaving(where.Module, where.Step, f)}
	}
	const factor = "a wrong constant factor: the target is 1.02"
	return []Fault{
		at("a zeroed row", "row 3 of layer 1's gate_up_proj is 0 in prefill", "a row that was not written", Place{Module: topology.InLayer(1, topology.GateUpProjName)},
			row(3, func(v []float64) { clear(v) })),
		at("one NaN", "one value of layer 1's attention", "a single broken value", Place{Module: topology.InLayer(1, topology.AttnName)},
			row(5, func(v []float64) { v[7] = math.NaN() })),
		{
			Name: "overflow of float16", What: "a sum on the way to one value of layer 1's down_proj is beyond 65504",
			Hint:  "an overflow of float16",
			Where: Place{Module: topology.InLayer(1, topology.DownProjName)}, DType: tensor.Float16,
			Inject: leaving(topology.InLayer(1, topology.DownProjName), 0, row(2, func(v []float64) { v[9] = math.Inf(1) })),
		},
		at("2 % scale of a linear", "layer 0's o_proj", factor, Place{Module: topology.InLayer(0, topology.OProjName)}, scale(1.02)),
		at("2 % scale of an activation", "layer 1's act_fn", factor, Place{Module: topology.InLayer(1, topology.ActFnName)}, scale(1.02)),
		at("2 % scale in decode", "layer 1's o_proj from step 1 on", factor, Place{Step: 1, Module: topology.InLayer(1, topology.OProjName)}, scale(1.02)),
		at("2 % noise", "layer 1's down_proj", "a broken kernel", Place{Module: topology.InLayer(1, topology.DownProjName)},
			func(_ *Run, t *tensor.Tensor) { edit(t, noise(0.02)) }),
		at("a scaled mlp", "layer 0's mlp returns other values than its down_proj", factor, Place{Module: topology.InLayer(0, topology.MLPName)}, scale(1.02)),
		at("a scaled self_attn", "layer 1's self_attn, which records no inputs, returns other values than its o_proj", factor,
			Place{Module: topology.InLayer(1, topology.SelfAttnName)}, scale(1.02)),
		at("a scaled layer", "layer 0 returns other values than its mlp", factor, Place{Module: topology.InLayer(0, "")}, scale(1.02)),
		{
			Name: "self_attn changes what it is given", What: "layer 1's self_attn gives qkv_proj other values than the norm returned; it records no inputs, so qkv_proj's input is the nearest place",
			Hint:  "a wrong constant factor",
			Where: Place{Module: topology.InLayer(1, topology.QKVProjName)},
			Inject: func(r *Run) {
				r.Arriving = append(r.Arriving, func(at Place, args il.Tuple) {
					if at.Module == topology.InLayer(1, topology.QKVProjName) {
						scale(1.02)(r, args.Tensor(0))
					}
				})
			},
		},
	}
}

// row changes one row where there is one.
func row(n int, f func(v []float64)) func(*Run, *tensor.Tensor) {
	return func(_ *Run, t *tensor.Tensor) {
		if n < t.Shape[0] {
			edit(t.Narrow(0, n, n+1), func(_ int, v []float64) { f(v) })
		}
	}
}

// tokenFaults change what the model is given.
func tokenFaults() []Fault {
	embed := Place{Module: topology.EmbedTokensName}
	return []Fault{
		{
			Name: "missing BOS", What: "the prompt lacks its first token",
			Hint:  "the BOS token",
			Where: embed,
			Tokens: func(p *requests.Plan) {
				for i := range p.Steps {
					c := &p.Steps[i].Chunks[0]
					if i == 0 {
						c.IDs = c.IDs[1:]
					} else {
						c.Start--
					}
				}
			},
		},
		{
			Name: "double BOS", What: "the prompt begins with its first token twice",
			Hint:  "BOS twice",
			Where: embed,
			Tokens: func(p *requests.Plan) {
				for i := range p.Steps {
					c := &p.Steps[i].Chunks[0]
					if i == 0 {
						c.IDs = append([]int{c.IDs[0]}, c.IDs...)
					} else {
						c.Start++
					}
				}
			},
		},
		{
			Name: "the sampler", What: "another token is chosen by the same logits",
			Hint:   "the sampler|a near tie",
			Where:  Place{Step: 1, Module: topology.EmbedTokensName},
			Tokens: func(p *requests.Plan) { p.Steps[1].Chunks[0].IDs[0]++ },
		},
		{
			Name: "another token", What: "the tokenizer gives another id in the middle of the prompt",
			Hint:  "another text, chat template or tokenizer: 1 of 24 ids",
			Where: embed,
			Tokens: func(p *requests.Plan) {
				ids := p.Steps[0].Chunks[0].IDs
				ids[len(ids)/2]++
			},
		},
	}
}
