package faults

import (
	"math"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// choiceFaults are of routers with a correction bias and groups of experts.
func choiceFaults(m mixture) []Fault {
	routing := func(edit func(r *nn.SigmoidTopK)) func(*Run) {
		return func(r *Run) {
			each(r.Model, func(e *nn.Experts) {
				x := e.Routing.(nn.SigmoidTopK)
				edit(&x)
				e.Routing = x
			})
		}
	}
	return []Fault{
		{
			Name: "correction bias left out", What: "experts are chosen by their scores alone",
			Hint: "the correction bias left out", NeedsModel: true, Where: m.at(".experts"),
			Inject: routing(func(r *nn.SigmoidTopK) { r.Bias = make([]float64, len(r.Bias)) }),
		},
		{
			Name: "bias used as weight", What: "the weights of the experts are the scores with the bias",
			Hint: "the correction bias in the weights", NeedsModel: true, Where: m.at(".experts"),
			Inject: func(r *Run) {
				each(r.Model, func(e *nn.Experts) {
					for _, wrong := range nn.OtherWeights(e.Routing) {
						e.Routing = wrong
					}
				})
			},
		},
		{
			Name: "group limit ignored", What: "experts are chosen of all groups",
			Hint: "the limit to the best groups", NeedsModel: true, Where: m.at(".experts"),
			Inject: routing(func(r *nn.SigmoidTopK) { r.Groups = nn.Groups{} }),
		},
	}
}

// besideFaults are of a block that adds shared experts to a scaled sum, of a tuple that its
// experts return.
func besideFaults(m mixture, scale float64) []Fault {
	added := func(name, what, hint string, shared, routed float64) Fault {
		return Fault{
			Name: name, What: what, Hint: hint, Where: m.at(""),
			Inject: func(r *Run) {
				var parts [2]*tensor.Tensor
				r.Leaving = append(r.Leaving, func(at Place, out il.Value) {
					switch at.Module {
					case m.block + ".experts":
						for i := range parts {
							parts[i] = out.(il.Tuple).Tensor(i).Clone()
						}
					case m.block:
						x, y := make([]float64, parts[0].Shape[1]), make([]float64, parts[0].Shape[1])
						edit(first(out), func(row int, v []float64) {
							load(x, parts[0], row)
							load(y, parts[1], row)
							for i := range v {
								v[i] += shared*x[i] + routed*y[i]
							}
						})
					}
				})
			},
		}
	}
	return []Fault{
		added("shared experts missing", "what the shared experts return is not added", "the shared experts are missing", -1, 0),
		added("shared experts twice", "it is added twice", "the shared experts are added twice", 1, 0),
		added("routed scale left out", "the sum of the experts is not multiplied by the factor", "the routed scale", 0, 1-scale),
	}
}

// latentFaults are of latent attention.
func latentFaults() []Fault {
	name := func(i int, n string) string { return topology.InLayer(i, "self_attn."+n) }
	return []Fault{
		{
			Name: "latent norm missing", What: "the latents of keys and values are not normalised",
			Hint: "something was left out", Where: Place{Module: name(0, "kv_a_layernorm")},
			Inject: func(r *Run) {
				Wrap(r, func(s *nn.Step, m *nn.RMSNorm, in il.Tuple, forward nn.Computation) il.Value {
					if m.Name() == name(0, "kv_a_layernorm") {
						return in.Tensor(0).Clone()
					}
					return forward(s, m, in)
				})
			},
		},
		{
			Name: "rope in halves", What: "pairs (i, i+D/2) are turned instead of neighbours",
			Hint: "rope style", Where: Place{Module: name(0, "rotary_emb")},
			Inject: func(r *Run) { Wrap(r, halvesForNeighbours) },
		},
		{
			Name: "latent rope theta", What: "the rope of latent attention has another theta",
			Hint: "of every rotated pair (2i, 2i+1)", Where: Place{Module: name(0, "rotary_emb")},
			Inject: func(r *Run) {
				each(r.Model, func(m *nn.LatentRotary) { m.Rope.Theta *= 4 })
			},
		},
		{
			Name: "mscale missing", What: "attention's scale lacks the square of yarn's factor",
			Hint: "attention's scale", Where: Place{Module: name(0, "mla_attn.mla_attn")},
			Inject: func(r *Run) {
				each(r.Model, func(m *nn.LatentAttention) { m.Scale = 1 / math.Sqrt(float64(m.Nope+m.Rope)) })
			},
		},
		{
			Name: "mscale squared", What: "attention's scale has it twice",
			Hint: "attention's scale", Where: Place{Module: name(0, "mla_attn.mla_attn")},
			Inject: func(r *Run) {
				each(r.Model, func(m *nn.LatentAttention) { m.Scale *= m.Scale * math.Sqrt(float64(m.Nope+m.Rope)) })
			},
		},
	}
}

// halvesForNeighbours sorts each head's neighbours as halves, and back.
func halvesForNeighbours(s *nn.Step, m *nn.LatentRotary, in il.Tuple, forward nn.Computation) il.Value {
	sorted := func(x *tensor.Tensor, from func(i, half int) int) *tensor.Tensor {
		old := make([]float64, m.Rope.Dim)
		return edited(x, func(_ int, v []float64) {
			copy(old, v)
			for i := range v {
				v[i] = old[from(i, len(v)/2)]
			}
		})
	}
	paired := func(i, half int) int { return i/2 + i%2*half }
	apart := func(i, half int) int { return i%half*2 + i/half }
	out := forward(s, m, il.Tuple{in[0], sorted(in.Tensor(1), paired), sorted(in.Tensor(2), paired)}).(il.Tuple)
	return il.Tuple{sorted(out.Tensor(0), apart), sorted(out.Tensor(1), apart)}
}

// droppedSinks is attention without its sinks.
func droppedSinks(attn string) Fault {
	return Fault{
		Name: "sinks dropped", What: "the softmax of attention has no term of the sinks",
		Hint: "attention sinks left out", Where: Place{Module: attn},
		Inject: func(r *Run) {
			each(r.Model, func(m *nn.Attention) { m.Sinks = nil })
		},
	}
}

// halfRouter is a router that computes in bfloat16 where it is float32.
func halfRouter(m mixture) Fault {
	return Fault{
		Name: "router in bfloat16", What: "a router of float32 computes in bfloat16",
		Hint: "the router computed in bfloat16", Where: m.at(".gate"),
		Inject: leaving(m.block+".gate", 0, func(_ *Run, t *tensor.Tensor) {
			edit(t, func(_ int, v []float64) { roundBF16(v) })
		}),
	}
}

// unscaledEmbedding hands the embedding to the first layer as it is.
func unscaledEmbedding(hidden int, factor float64) Fault {
	layer := topology.InLayer(0, "")
	return Fault{
		Name: "embedding not scaled", What: "the embedding is not multiplied by its factor",
		Hint: "as of the embedding's scale", Where: Place{Module: layer},
		Inject: func(r *Run) {
			r.Arriving = append(r.Arriving, func(at Place, args il.Tuple) {
				if at.Module == layer {
					edit(args.Tensor(hidden), func(_ int, v []float64) {
						for i := range v {
							v[i] /= factor
						}
					})
				}
			})
		},
	}
}

// rotatedAnyway turns queries and keys of a layer that has no rope.
func rotatedAnyway(layer int) Fault {
	attn := topology.InLayer(layer, topology.AttnName)
	return Fault{
		Name: "NoPE layer rotated", What: "queries and keys of a layer without a rope are rotated",
		Hint: "rotation", Where: Place{Module: attn},
		Inject: func(r *Run) {
			var positions []int
			r.Arriving = append(r.Arriving, func(at Place, args il.Tuple) {
				switch at.Module {
				case topology.InLayer(layer, ""):
					positions, _ = args.Tensor(0).Ints() // int64, by the engine
				case attn:
					d := r.Model.Config.HeadDim
					for i := range 2 {
						edit(args.Tensor(i), func(row int, v []float64) {
							for at := 0; at < len(v); at += d {
								for j := range d / 2 {
									angle := float64(positions[row]) * math.Pow(1e4, -2*float64(j)/float64(d))
									x, y := v[at+j], v[at+j+d/2]
									v[at+j], v[at+j+d/2] = x*math.Cos(angle)-y*math.Sin(angle), y*math.Cos(angle)+x*math.Sin(angle)
								}
							}
						})
					}
				}
			})
		},
	}
}

// onePlus takes the weights w of norms for 1+w.
func onePlus() Fault {
	return Fault{
		Name: "w taken as 1+w", What: "every norm multiplies by its weight and 1",
		Hint: "the norm's weight taken as 1+w", Where: Place{Module: topology.InLayer(0, topology.InputNormName)},
		Inject: func(r *Run) {
			each(r.Model, func(m *nn.RMSNorm) {
				m.Weight = edited(m.Weight.Clone(), func(_ int, v []float64) {
					for i := range v {
						v[i]++
					}
				})
			})
		},
	}
}

// softCapped caps logits that have no cap.
func softCapped(c float64) Fault {
	return Fault{
		Name: "soft cap", What: "logits are capped by c·tanh(x/c), where they should not be",
		Hint: "a soft cap", Where: Place{Step: 1, Module: topology.LogitsProcessorName}, // of the forward of step 0
		Inject: leaving(topology.LogitsProcessorName, 0, func(_ *Run, t *tensor.Tensor) {
			edit(t, func(_ int, v []float64) {
				for i, x := range v {
					v[i] = c * math.Tanh(x/c)
				}
			})
		}),
	}
}

// gemmaFaults are of Gemma's norms and of what is beside its layers.
func gemmaFaults(root float64) []Fault {
	return []Fault{
		unscaledEmbedding(1, root),
		{
			Name: "1+w taken as w", What: "every norm multiplies by its weight, without the 1",
			Hint: "the norm's weight taken as w", Where: Place{Module: topology.InLayer(0, topology.InputNormName)},
			Inject: func(r *Run) {
				Wrap(r, func(s *nn.Step, m *nn.GemmaRMSNorm, in il.Tuple, forward nn.Computation) il.Value {
					w := make([]float64, m.Weight.Numel())
					_ = m.Weight.Float64s(w, 0)
					out := forward(s, m, in)
					edit(first(out), func(_ int, v []float64) {
						for i := range v {
							v[i] *= w[i] / (1 + w[i])
						}
					})
					return out
				})
			},
		},
	}
}

// capFaults are of soft caps.
func capFaults() []Fault {
	return []Fault{
		{
			Name: "soft cap of attention dropped", What: "scores are not capped",
			Hint: "attention's scale, soft cap or mask", Where: Place{Module: topology.InLayer(0, topology.AttnName)},
			Inject: func(r *Run) {
				each(r.Model, func(m *nn.Attention) { m.Softcap = 0 })
			},
		},
		{
			Name: "soft cap of logits dropped", What: "logits are not capped",
			Hint: "the soft cap was left out", Where: Place{Step: 1, Module: topology.LogitsProcessorName}, // of the forward of step 0
			Inject: func(r *Run) {
				each(r.Model, func(m *nn.LogitsProcessor) { m.Softcap = 0 })
			},
		},
	}
}

// exchangedRopes gives layers of a window the rope of the others, and those theirs.
func exchangedRopes() Fault {
	return Fault{
		Name: "local and global rope exchanged", What: "layers of a window rotate as the others do, and those as they",
		Hint: "rope theta or rope scaling|rotation by other angles", Where: Place{Module: rope},
		Inject: func(r *Run) {
			a, b := get[*nn.Rotary](r.Model, rope), get[*nn.Rotary](r.Model, topology.InLayer(1, topology.RotaryName))
			a.Rope, b.Rope = b.Rope, a.Rope
		},
	}
}
