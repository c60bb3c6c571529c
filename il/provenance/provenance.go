// Package provenance is what a session says of how it was made: session.json and
// batches.jsonl in its directory. docs/format.md has every member.
//
//	session.json    a Record: program, engine, model, kernels, environment   read.go, write.go
//	batches.jsonl   a Batch a line: the requests of a forward pass           batches.go
//
// Both are optional, and nothing in them is trusted for sizes or paths: a member of
// another type than is expected is a warning and left out, and members that are not
// known are ignored.
package provenance

import (
	"bytes"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// Schema is the version of the format, in a session.json's member of that name.
const Schema = "il.session.v1"

// The files, in a session's directory.
const (
	FileName    = "session.json"
	BatchesName = "batches.jsonl"
)

// Record is the content of a session.json. What it does not say is zero.
type Record struct {
	Schema     string `json:"schema"`
	Status     Status `json:"status,omitzero"`
	Reason     string `json:"reason,omitzero"`      // of a recording that ended early
	FirstError string `json:"first_error,omitzero"` // that the recording met
	Created    string `json:"created,omitzero"`     // RFC 3339
	Finished   string `json:"finished,omitzero"`    // RFC 3339
	Writer     Writer `json:"writer,omitzero"`

	Run    Run            `json:"run,omitzero"`
	Config jsontext.Value `json:"config,omitzero"` // the il config as used, an object

	Engine    Engine            `json:"engine,omitzero"`
	Model     Model             `json:"model,omitzero"`
	Weights   []Weight          `json:"weights,omitzero"`
	Parallel  Parallel          `json:"parallel,omitzero"`
	Execution Execution         `json:"execution,omitzero"`
	Kernels   Kernels           `json:"kernels,omitzero"`
	Numerics  Numerics          `json:"numerics,omitzero"`
	Versions  map[string]string `json:"versions,omitzero"` // of libraries, by name
	Env       map[string]string `json:"env,omitzero"`      // variables of an allow-list

	Steps      []Step     `json:"steps,omitzero"`
	Incomplete Incomplete `json:"incomplete,omitzero"`
	Derived    Derived    `json:"derived,omitzero"`
	Lacks      Lacks      `json:"lacks,omitzero"` // of a session written from another tool's dump
}

// Status says whether a run has written all of its session.
type Status string

// Statuses.
const (
	Recording Status = "recording" // it has not ended, or died
	Complete  Status = "complete"
	Stopped   Status = "stopped" // ended before its time: interrupted, or no room was left
	Failed    Status = "failed"
)

var statuses = []Status{Recording, Complete, Stopped, Failed}

// Writer is a program that writes sessions.
type Writer struct {
	Name    string `json:"name"`
	Version string `json:"version,omitzero"`
	SHA256  string `json:"sha256,omitzero"` // of the program's file
}

// Run says how the session was recorded.
type Run struct {
	ID          string            `json:"id,omitzero"`
	Label       string            `json:"label,omitzero"`      // what names the tensors' files: rank or device
	LogitsLag   *int              `json:"logits_lag,omitzero"` // the logits of step n lie in step n + this; vLLM 1, others 0
	Variant     string            `json:"variant,omitzero"`    // of vLLM's logger: A
	Kwargs      *bool             `json:"kwargs,omitzero"`     // keyword arguments were recorded
	Views       string            `json:"views,omitzero"`      // compact: a view is saved without the rest of its storage
	ArgsRemoved []string          `json:"args_removed,omitzero"`
	Renamed     map[string]string `json:"renamed,omitzero"`
}

// Engine is what ran the model.
type Engine struct {
	Name     string   `json:"name,omitzero"` // vllm, sglang, transformers, pytorch, ilref
	Version  string   `json:"version,omitzero"`
	Commit   string   `json:"commit,omitzero"`
	Runner   string   `json:"runner,omitzero"`   // v1, v2, sglang, transformers
	Rounding string   `json:"rounding,omitzero"` // ilref: the rounding profile of a half type
	Argv     []string `json:"argv,omitzero"`
}

// Model is what was run.
type Model struct {
	ID           string `json:"id,omitzero"` // the base name alone
	Revision     string `json:"revision,omitzero"`
	Architecture string `json:"architecture,omitzero"`
	ConfigSHA256 string `json:"config_sha256,omitzero"`
	DType        string `json:"dtype,omitzero"` // of activations: bfloat16
	Quantization string `json:"quantization,omitzero"`
	KVCacheDType string `json:"kv_cache_dtype,omitzero"` // auto is dtype
	Layers       int    `json:"layers,omitzero"`
	Hidden       int    `json:"hidden,omitzero"`
	Vocab        int    `json:"vocab,omitzero"`
	Rope         Rope   `json:"rope,omitzero"`

	ExpertsPerToken int    `json:"experts_per_token,omitzero"` // of a mixture
	ExpertChoice    string `json:"expert_choice,omitzero"`     // what chooses them: ChoiceLargest, ChoiceBiased
}

// What chooses the experts of a token.
const (
	ChoiceLargest = "largest" // the router's largest scores
	ChoiceBiased  = "biased"  // scores with a bias that sessions do not hold, or groups of experts
)

// Rope is the rotary embedding.
type Rope struct {
	Type       string  `json:"type,omitzero"`
	Theta      float64 `json:"theta,omitzero"`
	TableDType string  `json:"table_dtype,omitzero"`
	SHA256     string  `json:"sha256,omitzero"` // of the table's first 64 rows
}

// Weight is a parameter as the engine computes with it.
type Weight struct {
	Name   string `json:"name"`
	Shape  []int  `json:"shape"`
	DType  string `json:"dtype"`
	SHA256 string `json:"sha256"` // of its first 64 KiB in C order
}

// Parallel is how the model was spread over devices.
type Parallel struct {
	TP     int    `json:"tp,omitzero"`
	PP     int    `json:"pp,omitzero"`
	DP     int    `json:"dp,omitzero"`
	DPRank *int   `json:"dp_rank,omitzero"`
	EP     Scalar `json:"ep,omitzero"`
	DCP    int    `json:"dcp,omitzero"`
	Ranks  []Rank `json:"ranks,omitzero"`
}

// Rank is one process of them.
type Rank struct {
	Label      string `json:"label"` // as in the names of files, with a colon: cuda:1
	TP         int    `json:"tp"`
	PP         int    `json:"pp"`
	Device     string `json:"device,omitzero"` // its name: NVIDIA H100 80GB HBM3
	Capability Scalar `json:"capability,omitzero"`
	Driver     Scalar `json:"driver,omitzero"`
}

// Execution is how forwards ran.
type Execution struct {
	Eager               *bool  `json:"eager,omitzero"`
	CompileMode         Scalar `json:"compile_mode,omitzero"`
	CudagraphMode       Scalar `json:"cudagraph_mode,omitzero"`
	MaxNumBatchedTokens int    `json:"max_num_batched_tokens,omitzero"`
	ChunkedPrefill      *bool  `json:"chunked_prefill,omitzero"`
	PrefixCaching       *bool  `json:"prefix_caching,omitzero"`
	SpecDecode          Scalar `json:"spec_decode,omitzero"`
	AsyncScheduling     *bool  `json:"async_scheduling,omitzero"`
	DBO                 *bool  `json:"dbo,omitzero"`
	Cascade             *bool  `json:"cascade,omitzero"`
	LoRA                *bool  `json:"lora,omitzero"`
	BatchInvariant      *bool  `json:"batch_invariant,omitzero"`
	SequenceParallel    *bool  `json:"sequence_parallel,omitzero"`
	AllReduce           Scalar `json:"all_reduce,omitzero"`
}

// Kernels is what computed the modules.
type Kernels struct {
	Attention    map[string]Attention      `json:"attention,omitzero"`  // by backend
	CustomOps    map[string]map[string]int `json:"custom_ops,omitzero"` // how many modules of a class run which method
	IROpPriority Scalar                    `json:"ir_op_priority,omitzero"`
	Linear       map[string]int            `json:"linear,omitzero"` // how many modules by the class of their method
	MoEBackend   Scalar                    `json:"moe_backend,omitzero"`
}

// Attention is a backend of attention.
type Attention struct {
	Impl      string `json:"impl,omitzero"`
	Layers    Scalar `json:"layers,omitzero"` // how many, or which
	FAVersion Scalar `json:"fa_version,omitzero"`
}

// Numerics are the switches of PyTorch that change results.
type Numerics struct {
	Float32MatmulPrecision string `json:"float32_matmul_precision,omitzero"`
	CudaMatmulAllowTF32    *bool  `json:"cuda_matmul_allow_tf32,omitzero"`
	CudaMatmulFP32         string `json:"cuda_matmul_fp32_precision,omitzero"`
	BF16ReducedPrecision   Scalar `json:"allow_bf16_reduced_precision_reduction,omitzero"`
	FP16ReducedPrecision   Scalar `json:"allow_fp16_reduced_precision_reduction,omitzero"`
	CudnnTF32              *bool  `json:"cudnn_allow_tf32,omitzero"`
	Deterministic          *bool  `json:"deterministic_algorithms,omitzero"`
}

// MaxSteps is how many steps a writer names, so that the file stays small: the first.
const MaxSteps = 1000

// Step is a recorded step.
type Step struct {
	Step         int `json:"step"`
	Forward      int `json:"forward"` // counted from the start of the run
	Tokens       int `json:"tokens"`
	PaddedTokens int `json:"padded_tokens"` // rows of the forward, padding included
	Requests     int `json:"requests"`
}

// Incomplete counts what the recording lacks.
type Incomplete struct {
	Stubs        map[string]int `json:"stubs,omitzero"` // by reason
	TensorsLost  int            `json:"tensors_lost,omitzero"`
	StepsCut     int            `json:"steps_cut,omitzero"`
	RanksStopped []string       `json:"ranks_stopped,omitzero"` // their labels
}

// Derived tells what a session was computed from, where that is another
// session: its tokens, or also what its modules were given.
type Derived struct {
	What       Derivation `json:"what"`
	Session    string     `json:"session"`    // Session.Fingerprint of that session
	Checkpoint string     `json:"checkpoint"` // digest of the weights
	DType      string     `json:"dtype"`      // of the arithmetic
	Rounding   string     `json:"rounding,omitzero"`
}

// Derivation is how a session follows from another.
type Derivation string

// Derivations.
const (
	Replay Derivation = "replay" // every call from the inputs that were recorded of it
	Rerun  Derivation = "rerun"  // its tokens and steps again
)

// Scalar is a value that writers give in several types: a number, a truth value, a
// word, a list or an object. It is kept as text: a string as it is, anything else as
// compact JSON. "" is none.
type Scalar string

// MarshalJSON writes the value in the type that it has.
func (s Scalar) MarshalJSON() ([]byte, error) {
	v := jsontext.Value(s)
	if k := v.Kind(); v.IsValid() && k != '"' && k != 'n' {
		return v, nil
	}
	return jsontext.AppendQuote(nil, string(s))
}

// textOf is the text of a value; null is none.
func textOf(v jsontext.Value) Scalar {
	switch v.Kind() {
	case 'n':
		return ""
	case '"':
		b, _ := jsontext.AppendUnquote(nil, v)
		return Scalar(b)
	}
	v = slices.Clone(v)
	if v.Compact() != nil {
		return Scalar(bytes.TrimSpace(v))
	}
	return Scalar(v)
}
