package foreign

import (
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// Names of files and values of SGLang's dumper (sglang, python/sglang/srt/
// debug_utils/dumper.py: _format_tags, _NonIntrusiveDumper), which vLLM's port
// (pull request 52558) writes too.
const (
	tagSeparator = "___"
	hookPrefix   = "non_intrusive__" // of values that its hooks saw
	batchPrefix  = "forward_batch_info_"
)

// dumped is what the name of a file says.
type dumped struct {
	step, rank, index int    // index counts what a process has dumped
	name              string // of the value
	layer             int    // whose forward it was dumped in, -1 for none
	again             bool   // the forward of a checkpoint that is computed again
}

// parseDumped parses "step=0___rank=0___dump_index=1___name=N[___k=v…].pt".
func parseDumped(file string) (d dumped, ok bool) {
	base, ok := strings.CutSuffix(file, ".pt")
	if !ok || !strings.HasPrefix(base, "step=") {
		return d, false
	}
	d.layer = -1
	seen := map[string]bool{}
	key := ""
	for _, part := range strings.Split(base, tagSeparator) {
		k, v, isTag := strings.Cut(part, "=")
		if !isTag || key == "name" && !isTagName(k) {
			if key != "name" {
				return d, false
			}
			d.name += tagSeparator + part
			continue
		}
		if key = k; seen[k] {
			return d, false
		}
		seen[k] = true
		good := true
		switch k {
		case "step":
			d.step, good = number(v)
		case "rank":
			d.rank, good = number(v)
		case "dump_index":
			d.index, good = number(v)
		case "name":
			d.name = v
		case "layer_id":
			if n, isNumber := number(v); isNumber {
				d.layer = n
			}
		case "recompute_status":
			d.again = v == "recompute"
		}
		if !good {
			return d, false
		}
	}
	return d, seen["rank"] && seen["dump_index"] && d.name != ""
}

// isTagName reports whether what stands before a "=" is the name of a tag, and no
// part of a value.
func isTagName(k string) bool {
	return k != "" && strings.Trim(k, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// hooked parts the name of a value that a hook saw into the module, the direction
// and the slot: "model.norm.inputs.0", "model.norm.output", "…output.1". It is
// read from the right, because modules may have any name.
func hooked(name string) (module string, d il.Direction, slot string, ok bool) {
	w := strings.Split(name, ".")
	n := len(w)
	join := func(k int) string { return strings.Join(w[:k], ".") }
	switch {
	case n >= 2 && w[n-2] == "inputs":
		module, d, slot = join(n-2), il.Inputs, w[n-1]
	case w[n-1] == "output":
		module, d = join(n-1), il.Outputs
	case n >= 3 && w[n-3] == "inputs":
		module, d, slot = join(n-3), il.Inputs, w[n-2]+"_"+w[n-1]
	case n >= 2 && w[n-2] == "output":
		module, d, slot = join(n-2), il.Outputs, w[n-1]
	default:
		return "", "", "", false
	}
	return module, d, slot, isModule(name) && isSlot(slot)
}

// sglangSlot is vLLM's slot for a slot of SGLang's module: a layer is given the
// batch as argument 2 and the residual as argument 3, the logits are a member of
// the result, and the first argument of the logits' module is token ids. ok is
// false for what vLLM has no slot for.
func sglangSlot(module string, d il.Direction, slot string, vllm bool) (string, bool) {
	m := topology.Of(module)
	switch {
	case m.Kind == topology.Model:
		return "", false // vLLM's fires no hook
	case d == il.Outputs && slot == "":
		return resultSlot(module, vllm), true
	case m.Kind == topology.Layer && d == il.Inputs && slot == "3":
		return "2", true
	case m.Kind == topology.Logits && d == il.Inputs && slot == "0":
		return "", false
	case m.Kind == topology.Logits && d == il.Outputs && slot == logitsMember:
		return "", true
	}
	return slot, true
}

// logitsMember is the member of SGLang's LogitsProcessorOutput that holds them.
const logitsMember = "next_token_logits"

// coreFields are dumped under their own name wherever they are seen, without the
// module whose argument they are.
var coreFields = map[string]bool{
	"input_ids": true, "positions": true, "seq_lens": true, "rids": true, "req_pool_indices": true, "extend_seq_lens": true,
	"position_ids": true, "cu_seqlens_q": true, "cu_seqlens_kv": true, "qkv_format": true,
}
