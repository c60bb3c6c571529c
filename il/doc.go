// Package il reads and writes intermediate-logging sessions: directories in
// which vLLM's intermediate logging (pull request 21215) keeps what every
// module of a model took and returned, step by step.
//
//	<output_dir>/<id>/step_0/module_calls.txt
//	                        /model.layers.0.self_attn.rotary_emb_1/inputs.json
//	                                                              /inputs_0_cuda_0.pt
//	                                                              /outputs_0_cuda_0.pt
//
// A Config says what is logged, a Logger writes a session through the hooks of
// a model's modules, and Open reads one. The .pt files are package pt's.
package il
