package pt

import (
	"fmt"
	"strings"

	"github.com/ilref/ilref/tensor"
)

// global is what a name in a pickle stands for. Only these exist: a name that
// is not on the list is foreign, an inert value that may be nothing but the
// class of a tensor subclass.
type global struct {
	name    string // module and name, joined by a dot
	foreign bool
	offset  int // of a foreign name: where the pickle has it
	value   any // of names that are not functions
	call    func(l *loader, args []any) (any, error)
	result  kind // what the verifier knows of what call returns
	rebuild bool // call makes a tensor from a storage
}

func (g *global) String() string { return quote(g.name) }

// Values that a pickle may hold and that matter to a function below.
type (
	storageClass struct {
		dtype   tensor.DType
		untyped bool // numel counts bytes
	}
	qscheme string
	opaque  string // anything that no tensor depends on: layouts, classes, sets, …
)

// functions are the callables of the allow-list, by module and name.
var functions = map[string]global{
	"torch._utils _rebuild_tensor":                        {call: rebuildV1, result: kObject, rebuild: true},
	"torch._utils _rebuild_tensor_v2":                     {call: rebuildV2, result: kObject, rebuild: true},
	"torch._utils _rebuild_tensor_v3":                     {call: rebuildV3, result: kObject, rebuild: true},
	"torch._utils _rebuild_qtensor":                       {call: rebuildQuantized, result: kObject, rebuild: true},
	"torch._utils _rebuild_meta_tensor_no_storage":        {call: rebuildMeta, result: kObject, rebuild: true},
	"torch._utils _rebuild_parameter":                     {call: firstTensor, result: kObject, rebuild: true},
	"torch._utils _rebuild_parameter_with_state":          {call: firstTensor, result: kObject, rebuild: true},
	"torch._utils _rebuild_device_tensor_from_cpu_tensor": {call: rebuildFromCPU, result: kObject, rebuild: true},
	"torch._utils _rebuild_device_tensor_from_numpy":      {call: rebuildFromNumpy, result: kObject, rebuild: true},
	"torch._utils _rebuild_xla_tensor":                    {call: rebuildFromNumpy, result: kObject, rebuild: true},
	"torch_npu.utils.storage _rebuild_npu_tensor":         {call: rebuildNPU, result: kObject, rebuild: true},
	"torch._tensor _rebuild_from_type_v2":                 {call: rebuildFromType, result: kObject},
	"torch._tensor _rebuild_from_type":                    {call: rebuildFromType, result: kObject},
	"torch.tensor _rebuild_from_type_v2":                  {call: rebuildFromType, result: kObject},
	"torch.tensor _rebuild_from_type":                     {call: rebuildFromType, result: kObject},
	"torch.nn.parameter Parameter":                        {call: firstTensor, result: kObject},
	"torch.nn.parameter Buffer":                           {call: firstTensor, result: kObject},
	"torch.autograd.variable Variable":                    {call: firstTensor, result: kObject},
	"torch Size":                                          {call: firstArgument},
	"torch device":                                        {call: ignore("torch.device")},
	"torch.serialization _get_layout":                     {call: ignore("layout")},
	"torch_npu.npu._format Format":                        {call: firstArgument},
	"torch.jit._pickle restore_type_tag":                  {call: firstArgument},
	"torch.jit._pickle build_intlist":                     {call: firstArgument},
	"torch.jit._pickle build_doublelist":                  {call: firstArgument},
	"torch.jit._pickle build_boollist":                    {call: firstArgument},
	"torch.jit._pickle build_tensorlist":                  {call: firstArgument},
	"collections OrderedDict":                             {call: newOrderedDict, result: kODict},
	"collections Counter":                                 {call: newOrderedDict, result: kODict},
	"_codecs encode":                                      {call: encodeLatin1},
	"builtins set":                                        {call: ignore("set")},
	"builtins frozenset":                                  {call: ignore("frozenset")},
	"builtins complex":                                    {call: ignore("complex")},
	"builtins bytearray":                                  {call: ignore("bytearray")},
	"numpy dtype":                                         {call: numpyDType, result: kObject},
	"numpy ndarray":                                       {call: ignore("numpy.ndarray")},
	"numpy.core.multiarray _reconstruct":                  {call: numpyArray, result: kObject},
	"numpy._core.multiarray _reconstruct":                 {call: numpyArray, result: kObject},
	"numpy.core.multiarray scalar":                        {call: ignore("numpy scalar")},
	"numpy._core.multiarray scalar":                       {call: ignore("numpy scalar")},
	"numpy.core.numeric _frombuffer":                      {call: numpyFromBuffer, result: kObject},
	"numpy._core.numeric _frombuffer":                     {call: numpyFromBuffer, result: kObject},
}

// refused are names of torch that are no dense tensor of one device.
var refused = map[string]string{
	"torch._utils _rebuild_sparse_tensor":     "a sparse tensor, which is not read; save tensor.to_dense()",
	"torch._utils _rebuild_sparse_csr_tensor": "a sparse tensor, which is not read; save tensor.to_dense()",
	"torch._utils _rebuild_nested_tensor":     "a nested tensor, which is not read; save its parts, tensor.unbind()",
	"torch._utils _rebuild_wrapper_subclass":  "a DTensor or another wrapper around tensors, which is not read; save the local part, tensor.to_local()",
	"torch QUInt4x2Storage":                   "a quint4x2 tensor (4-bit quantised), which is not read; save tensor.int_repr()",
	"torch QUInt2x4Storage":                   "a quint2x4 tensor (2-bit quantised), which is not read; save tensor.int_repr()",
}

// allowed is the whole allow-list by module and name.
var allowed = func() map[string]*global {
	m := map[string]*global{}
	add := func(key string, g global) {
		g.name = strings.Replace(key, " ", ".", 1)
		m[key] = &g
	}
	for key, g := range functions {
		add(key, g)
		if name, ok := strings.CutPrefix(key, "builtins "); ok { // protocol 2 writes Python 2's module
			add("__builtin__ "+name, g)
		}
	}
	for class, d := range storageClasses {
		add("torch "+class, global{value: storageClass{dtype: d}})
		add("torch.cuda "+class, global{value: storageClass{dtype: d}})
		tensorClass := strings.TrimSuffix(class, "Storage") + "Tensor"
		add("torch "+tensorClass, global{value: opaque(tensorClass)})
		add("torch.cuda "+tensorClass, global{value: opaque(tensorClass)})
	}
	for _, class := range []string{"UntypedStorage", "_UntypedStorage"} {
		add("torch.storage "+class, global{value: storageClass{dtype: tensor.Uint8, untyped: true}})
	}
	for _, d := range tensor.DTypes() {
		add("torch "+d.String(), global{value: d})
	}
	for _, s := range []string{
		"per_tensor_affine", "per_channel_affine", "per_tensor_symmetric", "per_channel_symmetric", "per_channel_affine_float_qparams",
	} {
		add("torch "+s, global{value: qscheme(s)})
	}
	for _, s := range []string{"Tensor", "strided", "contiguous_format", "preserve_format", "channels_last", "channels_last_3d"} {
		add("torch "+s, global{value: opaque(s)})
	}
	return m
}()

// lookUp finds a name. Nothing outside the list is looked at.
func lookUp(module, name string) (*global, error) {
	key := module + " " + name
	if g, ok := allowed[key]; ok {
		return g, nil
	}
	if why, ok := refused[key]; ok {
		return nil, fmt.Errorf("%s.%s: %s", module, name, why)
	}
	if !isName(module) || !isName(name) {
		return nil, fmt.Errorf("%s is not the name of a module and a class", quote(key))
	}
	return &global{name: module + "." + name, foreign: true}, nil
}

// foreignClass is a name outside the list. used is set where it was the class
// of a tensor subclass, the one thing it may be.
type foreignClass struct {
	global *global
	used   bool
}
