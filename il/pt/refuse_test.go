package pt

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/tensor"
)

// What is said of the broken files: record, offset, what was found, what was
// expected.
var refusals = map[string]string{
	"exec/zip_os_system.pt":         `data.pkl: offset 61: REDUCE: a call of "os.system", which is not one of the functions that make tensors; nothing of it was run`,
	"exec/zip_newobj.pt":            `data.pkl: offset 58: NEWOBJ: a call of "subprocess.Popen", which is not one of the functions that make tensors; nothing of it was run`,
	"exec/zip_stack_global.pt":      `a call of "os.system"`,
	"exec/zip_build_setstate.pt":    `the name "os.system", which no tensor needs; nothing of it was looked up or run`,
	"exec/zip_global_dotted.pt":     `data.pkl: offset 2: the name "torch._utils._rebuild_tensor_v2.__globals__", which no tensor needs`,
	"exec/zip_codecs_encode.pt":     `_codecs.encode: codec "hex", want "latin1"`,
	"exec/legacy_in_magic.pt":       `not a file of torch.save: it starts with "\x80\x02cos\nsystem\nq\x00("`,
	"sizes/zip_qtensor_axis.pt":     `quantisation axis 999999 of a tensor of 2 dimensions`,
	"sizes/legacy_numel_huge.pt":    `legacy file: offset 321: storage 140 has 6 elements, want 1000000000000000`,
	"sizes/numel_plus1_v3.pt":       `data.pkl: offset 108: storage 0 has 24 bytes, want 28 for 28 elements of uint8`,
	"sizes/numel_m63_v3.pt":         `the length of storage 0 is an integer of 65 bits, want a count`,
	"sizes/numel_u32.pt":            `storage 0 has 24 bytes, want 17179869184 for 4294967296 elements of float32`,
	"sizes/size_huge.pt":            `torch._utils._rebuild_tensor_v2: size [1000000000,1000000000], stride [1000000000,1] and offset 0 of float32 need 4000000000000000000 bytes of storage 0, which has 24`,
	"sizes/size_prod_wraps_to_6.pt": `size, stride and offset are too large for a 64-bit count`,
	"sizes/size_neg.pt":             `the size has -2 in dimension 0, want a count`,
	"sizes/stride_neg_inb.pt":       `the stride has -1 in dimension 0, want a count`,
	"sizes/off_neg_v3.pt":           `the storage offset is -1, want a count`,
	"sizes/ndim_mismatch.pt":        `2 sizes and 1 strides`,
	"sizes/ndim_1000.pt":            `a tensor of 1000 dimensions, want at most 64`,
	"types/size_str.pt":             `the size is "23", want a tuple of counts`,
	"types/size_none.pt":            `the size is None, want a tuple of counts`,
	"types/args_0.pt":               `torch._utils._rebuild_tensor_v2: 0 arguments, want 6 or 7`,
	"types/v3_dtype_str.pt":         `the element type is "float32", want one like torch.float8_e4m3fn`,
	"types/pid_str.pt":              `BINPERSID: the id of a storage is not a tuple`,
	"types/pid_long.pt":             `the id of a storage is not ("storage", class, key, location, numel)`,
	"types/pid_typename.pt":         `an id of kind "evil", want "storage"`,
	"types/pid_class_str.pt":        `the class of a storage is not one of torch's storages`,
	"types/pid_numel_float.pt":      `the length of storage 0 is the float 6, want a count`,
	"types/pid_loc_int.pt":          `the location of storage 0 is 1, want a device like "cuda:0"`,
	"types/pid_text.pt":             `opcode 0x50 (PERSID) is not one that torch writes`,
	"zip/local_ofs_beyond.pt":       `record "x/data/0": header at 1000000000, after the records' end at 450`,
	"zip/local_ofs_in_pkl.pt":       `want PK\3\4`,
	"zip/local_ofs_other.pt":        `record "x/data/0": the header at offset 0 is of another record`,
	"zip/usize_beyond_eof.pt":       `record "x/data/0": 5000 bytes at offset 320, after the records' end at 450`,
	"zip/encrypted_flag.pt":         `record "x/data/0" is encrypted`,
	"zip/method_99.pt":              `record "x/data/0": compression method 99, want 0 (stored) or 8 (deflated)`,
	"zip/dup_data_pkl.pt":           `two records "x/data.pkl"`,
	"zip/two_roots.pt":              `record "y/data.pkl" is outside the one folder that torch.save makes`,
	"zip/missing_data_0.pt":         `no record "x/data/0" in the archive`,
	"zip/missing_version.pt":        `no record "x/.data/version" in the archive`,
	"zip/version_0.pt":              `record version: "0\n", want a format version from 1 to 10`,
	"zip/key_dotdot.pt":             `the key of a storage is "../data.pkl", want 1 to 64 digits`,
	"zip/two_archives.pt":           `the zip64 locator points to 503, where no zip64 end record is`,
	"pickle/op_ff.pt":               `data.pkl: offset 2: opcode 0xff is not one that torch writes`,
	"pickle/stop_empty.pt":          `STOP: 0 values on the stack, want 1`,
	"pickle/long4_neg.pt":           `LONG4: an argument of 4294967295 bytes, and 1 are left`,
	"pickle/frame_100g.pt":          `FRAME: 107374182400 bytes, and 0 are left`,
	"pickle/get_missing.pt":         `BINGET: nothing is stored under 9`,
	"pickle/longbinput_huge.pt":     `LONG_BINPUT: index 4294967295, and the highest so far is -1`,
	"pickle/tuple_nomark.pt":        `TUPLE: no MARK on the stack`,
	"pickle/append_int.pt":          `APPEND: the value that it changes is of another type`,
	"pickle/set_bytes.pt":           `bytes in a set are not read`,
	"pickle/reduce_int.pt":          `a call of something that is no function`,
	"pickle/reduce_noargs.pt":       `a call of "collections.OrderedDict" without a tuple of arguments`,
	"pickle/proto_255.pt":           `PROTO: protocol 255, want at most 5`,
	"pickle/int_text_bad.pt":        `INT: "abc", want a number`,
	"pickle/int_text_huge.pt":       `INT: no line end within 512 bytes`,
	"pickle/unicode_bad.pt":         `BINUNICODE: not UTF-8`,
	"pickle/stackglobal_int.pt":     `STACK_GLOBAL: module and name are not two strings`,
	"recursion/deep_marks_1e6.pt":   `MARK: nested more than 4096 deep`,
	"recursion/billion_laughs.pt":   `its lists and dicts hold each other too many times over`,
	"legacy/keys_unknown.pt":        `which is no storage of a tensor, or twice`,
	"legacy/numel_neg.pt":           `legacy file: offset 311: storage 140 has -1 elements, want 6`,
	"legacy/view_beyond.pt":         `the view of storage 140 is 3 elements at 5, outside its 6`,
	"legacy/view_wrong_type.pt":     `the view of storage 140 is not (key, offset, numel)`,
	"legacy/key_reused_bigger.pt":   `storage 7 is 1000 elements of float32 here, and was 2 of float32`,
	"truncated/zip_00712.pt":        `zip directory: offset 712: no end record: the file is cut short, or something was appended to it`,
	"truncated/legacy_00034.pt":     `legacy file: offset 27: BINUNICODE: an argument of 16 bytes, and 2 are left`,
	"truncated/legacy_00322.pt":     `legacy file: offset 319: storage 140: 3 bytes are left, want 24 for 6 elements of float32`,
	"truncated/zip_00000.pt":        `an empty file, not one of torch.save`,
	"tar/symlink.pt":                `a tar file (of torch before 0.1.10?), which is not read; load and save it again with a newer torch`,
	"garbage/lfs.pt":                `a Git LFS pointer, not the file itself; run git lfs pull`,
	"garbage/gguf.pt":               `a GGUF file, not one of torch.save`,
	"garbage/gz.pt":                 `compressed with gzip; decompress it first`,
	"garbage/text.pt":               `not a file of torch.save: it starts with "hello world\nhell", want PK\x03\x04 (or a legacy file's magic number)`,
}

// What is said of good files that are no dense tensors.
var foreign = map[string]string{
	"t214/sparse_coo.pt":                  `data.pkl: offset 2: GLOBAL: torch._utils._rebuild_sparse_tensor: a sparse tensor, which is not read; save tensor.to_dense()`,
	"t113/sparse_csr.pt":                  `a sparse tensor, which is not read; save tensor.to_dense()`,
	"x214/nested.pt":                      `a nested tensor, which is not read; save its parts, tensor.unbind()`,
	"x214/dtensor.pt":                     `a DTensor or another wrapper around tensors, which is not read; save the local part, tensor.to_local()`,
	"t26/torchscript.pt":                  `a TorchScript archive (of torch.jit.save or C++ torch::save), which is not read; save the tensors with torch.save`,
	"patched/legacy_tar.pt":               `a tar file`,
	"t214/leading_junk.pt":                `it starts with "JUNKJUNKPK\x03\x04`,
	"patched/byteorder_little_newline.pt": `record byteorder: "little\n", want "little" or "big"`,
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	check := func(files []corpusFile, want map[string]string) {
		seen := 0
		for _, f := range files {
			msg, ok := want[f.File]
			if !ok {
				continue
			}
			seen++
			path := f.place(t, dir)
			_, err := Open(path)
			require.ErrorContains(t, err, msg, f.File)
			require.True(t, strings.HasPrefix(err.Error(), path+": "))
		}
		require.Equal(t, len(want), seen)
	}
	check(packed(t, "ptcorpus_bad"), refusals)
	check(packed(t, "ptcorpus"), foreign)
}

// rec is a record of an archive that a test makes.
type rec struct {
	name string
	data []byte
}

// archiveOf returns a file with these records, and those that every file needs.
func archiveOf(tb testing.TB, records ...rec) []byte {
	tb.Helper()
	var b bytes.Buffer
	a := archive{w: bufio.NewWriter(&b), prefix: "x"}
	for _, r := range append(records, rec{"version", []byte("3\n")}) {
		require.NoError(tb, a.addBytes(r.name, r.data))
	}
	require.NoError(tb, a.close())
	return b.Bytes()
}

func parseBytes(b []byte) ([]Named, error) {
	var f File
	err := f.parse(b, manyObjects)
	return f.tensors, err
}

// pickled is a tensor of float32[2,3] in storage 0, without PROTO and STOP.
const pickled = "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ" +
	"K\x00K\x02K\x03\x86K\x03K\x01\x86\x89NtR"

func readPickle(tb testing.TB, pickle string) ([]Named, error) {
	return parseBytes(archiveOf(tb, rec{"data.pkl", []byte("\x80\x02" + pickle + ".")}, rec{"data/0", make([]byte, 24)}))
}

func TestPickles(t *testing.T) {
	dict := "}(X\x01\x00\x00\x00a" + pickled + "X\x01\x00\x00\x00bK\x01u"
	for name, c := range map[string]struct{ pickle, want string }{
		"bare":             {pickled, ""},
		"dict":             {dict, "/a"},
		"DICT":             {"(" + dict[2:len(dict)-1] + "d", "/a"},
		"key twice":        {"}(K\x01NX\x01\x00\x00\x00b" + pickled + "K\x01" + pickled + "u", "/1 /b"},
		"odd keys":         {"}(N" + pickled + "\x88" + pickled + "K\x01\x85" + pickled + "G\x3f\xf8\x00\x00\x00\x00\x00\x00" + pickled + "u", "/None /True /key 2 /1.5"},
		"LIST":             {"(" + pickled + "K\x01" + pickled + "l", "/0 /2"},
		"python 2 dict":    {"ccollections\nOrderedDict\n(](](U\x03a/b" + pickled + "eetR", "/a/b"},
		"LONG":             {strings.Replace(pickled, "K\x06t", "L6L\nt", 1), ""},
		"LONG4":            {strings.Replace(pickled, "K\x00K", "\x8b\x00\x00\x00\x00K", 1), ""},
		"DUP and POP_MARK": {"(N1" + pickled + "20", ""},
		"POP of a MARK":    {"N0(0" + pickled, ""},
		"MEMOIZE":          {"K\x07\x940" + pickled + "\x94j\x01\x00\x00\x00\x86", "/0 /1"},
		"Parameter":        {"ctorch.nn.parameter\nParameter\n" + pickled + "\x88\x86\x81}b", ""},
		"subclass":         {"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_parameter\ncmy.module\nTensor\n(" + pickled + "\x88Nt}tR", ""},
		"sets":             {"\x8f(K\x01K\x02\x90(\x91\x86" + pickled + "\x86", "/1"},
		"numpy array":      {"(cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x03\x85cnumpy\ndtype\nU\x02O8\x89\x88\x87R\x89]tb" + pickled + "l", "/1"},
	} {
		got, err := readPickle(t, c.pickle)
		require.NoError(t, err, name)
		paths := []string{}
		for _, n := range got {
			paths = append(paths, n.Path)
			require.Equal(t, "float32[2,3]", n.Tensor.String())
		}
		require.Equal(t, c.want, strings.Join(paths, " "), name)
	}
}

// Keys tell what Path cannot.
func TestKeys(t *testing.T) {
	got, err := readPickle(t, "}(U\x03a/b"+pickled+"U\x02\xff\xfe"+pickled+"u")
	require.NoError(t, err)
	require.Equal(t, []string{"a/b"}, got[0].Keys)
	require.Equal(t, "/a/b", got[0].Path)
	require.Equal(t, []string{"\xff\xfe"}, got[1].Keys)
	require.Equal(t, "/\uFFFD", got[1].Path)
}

func TestPickleErrors(t *testing.T) {
	fromType := "ctorch._tensor\n_rebuild_from_type_v2\n"
	numpy := func(shape, dtype, state, data string) string {
		return "ctorch._utils\n_rebuild_device_tensor_from_numpy\n(cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01" +
			shape + "cnumpy\ndtype\n" + dtype + "\x89\x88\x87R(K\x03" + state + "tb\x89" + data + "tbctorch\nfloat32\nU\x05xla:0\x89tR"
	}
	q := func(params string) string {
		return strings.NewReplacer("_rebuild_tensor_v2", "_rebuild_qtensor", "FloatStorage", "QInt8Storage", "\x89NtR", params+"\x89NtR").Replace(pickled)
	}
	for name, c := range map[string]struct{ pickle, want string }{
		"several bytes in a value": {strings.Replace(pickled, "FloatStorage", "QUInt4x2Storage", 1), "a quint4x2 tensor (4-bit quantised), which is not read"},
		"wrong first argument":     {strings.Replace(pickled, "Q", "0N", 1), "the first argument is None, want a storage"},
		"one key, two classes":     {pickled + strings.Replace(pickled, "FloatStorage", "LongStorage", 1) + "\x86", "storage 0 is 6 elements of int64 here, and was 6 of float32"},
		"metadata":                 {strings.Replace(pickled, "NtR", "NK\x01tR", 1), "the metadata of a tensor are not a dict"},
		"negative bool":            {strings.NewReplacer("Float", "Bool", "NtR", "N}(U\x03neg\x88utR").Replace(pickled), "a negated tensor of bool"},
		"negative quantised":       {strings.NewReplacer("Float", "QInt8", "NtR", "N}(U\x03neg\x88utR").Replace(pickled), "a negated tensor of qint8"},
		"unused foreign name":      {"cmy.module\nThing\n" + pickled + "\x86", `offset 2: the name "my.module.Thing", which no tensor needs`},
		"odd pairs":                {"}(NNNu", "SETITEMS: 3 keys and values, want pairs"},
		"PUT and MEMOIZE":          {"Nq\x00\x94", "PUT and MEMOIZE in one pickle"},
		"nested from_type":         {fromType + "(" + fromType + "N)}tR", "its first argument is not a function that makes a tensor"},
		"from_type without tuple":  {fromType + "(NNNNtR", "its first argument is not a function that makes a tensor"},
		"parameter of nothing":     {"ctorch._utils\n_rebuild_parameter\n(N\x88NtR", "the first argument is None, want a tensor"},
		"python 2 dict":            {"ccollections\nOrderedDict\n](Nea\x85R", "APPEND"},
		"python 2 dict of ints":    {"ccollections\nOrderedDict\n](Ne\x85R", "its items are not [key, value]"},
		"latin1":                   {"c_codecs\nencode\nX\x02\x00\x00\x00\xc4\x80U\x06latin1\x86R", "the character U+0100 in latin1"},
		"long integer":             {"\x8b\x00\x01\x00\x00" + strings.Repeat("\x01", 256), "LONG4: an integer of 256 bytes"},
		"LONG":                     {"L12x\n", `LONG: "12x", want a number of at most 40 digits`},
		"scheme":                   {q("N"), "no quantised storage with (scheme, scale, zero point): qint8[2,3]"},
		"no scheme":                {q("NNN\x87"), "the quantisation scheme is None, want one like torch.per_tensor_affine"},
		"other scheme":             {q("ctorch\nper_tensor_symmetric\nNN\x87"), "quantisation scheme torch.per_tensor_symmetric with 2 parameters is not read"},
		"scale":                    {q("ctorch\nper_tensor_affine\nNN\x87"), "scale None and zero point None, want two numbers"},
		"per channel":              {q("(ctorch\nper_channel_affine\nNNK\x00t"), "quantisation parameters None and None, want the scales and the zero points of 2 channels"},
		"per channel shape":        {q("(ctorch\nper_channel_affine\n" + strings.ReplaceAll(pickled, "Float", "QInt8") + "2K\x00t"), "quantisation parameters qint8[2,3] for axis 0 of size 2"},
		"numpy object":             {numpy("K\x06\x85", "U\x02O8", "U\x01|", "U\x00"), `a numpy array of "O8"`},
		"numpy length":             {numpy("K\x06\x85", "U\x02f4", "U\x01<", "U\x04abcd"), "a numpy array of float32[6] in 4 bytes, want 24"},
		"numpy type":               {numpy("K\x01\x85", "U\x02i4", "U\x01<", "U\x04abcd"), "an array of int32 for a tensor of float32"},
		"numpy shape":              {numpy("N", "U\x02i4", "U\x01<", "U\x04abcd"), "a numpy array without a shape or an element type"},
		"numpy state":              {"cnumpy.core.multiarray\n_reconstruct\n)R)b", "the state of a numpy.ndarray is not (version, shape, dtype, order, data)"},
		"device":                   {strings.Replace(pickled, "X\x03\x00\x00\x00cpu", "U\x03c\x1bu", 1), `the location of storage 0 is "c\x1bu", want a device like "cuda:0"`},
		"frame in a frame":         {"\x95\x0b\x00\x00\x00\x00\x00\x00\x00N\x95\x01\x00\x00\x00\x00\x00\x00\x00N0", "FRAME: inside another frame, which ends at 22"},
		"over the end of a frame":  {"\x95\x01\x00\x00\x00\x00\x00\x00\x00K\x01", "BININT1 crosses the end of its frame at 12"},
		"v3 of 4-bit values":       {strings.NewReplacer("_v2", "_v3", "NtR", "Nctorch\nquint4x2\ntR").Replace(pickled), "a quint4x2 tensor, which packs several values in a byte, is not read"},
		"v3 arguments":             {strings.Replace(pickled, "_v2", "_v3", 1), "6 arguments, want 7 or 8"},
		"npu arguments":            {strings.Replace(pickled, "torch._utils\n_rebuild_tensor_v2", "torch_npu.utils.storage\n_rebuild_npu_tensor", 1), "6 arguments, want 7"},
		"v1 arguments":             {strings.Replace(pickled, "_v2", "", 1), "6 arguments, want 4"},
		"bool in a size":           {strings.Replace(pickled, "K\x02K\x03\x86", "\x88K\x03\x86", 1), "the size has true in dimension 0, want a count"},
		"numpy buffer arguments":   {"cnumpy.core.numeric\n_frombuffer\n)R", "0 arguments, want 4"},
		"deep":                     {strings.Repeat("(", 600) + strings.Repeat("t", 600), "containers more than 512 deep"},
		"no tensor type":           {"ctorch._utils\n_rebuild_device_tensor_from_cpu_tensor\n(" + pickled + "ctorch\nint8\nU\x05xla:0\x89tR", "a tensor of float32 for one of int8"},
		"meta":                     {"ctorch._utils\n_rebuild_meta_tensor_no_storage\n(ctorch\nint8\nK\x02\x85)\x89tR", "1 sizes and 0 strides"},
	} {
		_, err := readPickle(t, c.pickle)
		require.ErrorContains(t, err, c.want, name)
	}
}

func TestXLA(t *testing.T) {
	big := "ctorch._utils\n_rebuild_device_tensor_from_numpy\n(cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85" +
		"cnumpy\ndtype\nU\x02f4\x89\x88\x87R(K\x03U\x01>tb\x89U\x08\x3f\x80\x00\x00\xc0\x00\x00\x00tbctorch\nbfloat16\nU\x05xla:0\x89tR"
	got, err := readPickle(t, big)
	require.NoError(t, err)
	x := got[0].Tensor
	require.Equal(t, "bfloat16[2]", x.String())
	require.Equal(t, "xla:0", x.Device)
	v := make([]float64, 2)
	require.NoError(t, x.Float64s(v, 0))
	require.Equal(t, []float64{1, -2}, v)
}

// Scales in lists, as torch accepts them beside tensors.
func TestPerChannelLists(t *testing.T) {
	got, err := readPickle(t, strings.NewReplacer("_rebuild_tensor_v2", "_rebuild_qtensor", "FloatStorage", "QInt8Storage",
		"\x89NtR", "(ctorch\nper_channel_affine\n](G?\xe0\x00\x00\x00\x00\x00\x00K\x02e](K\x03K\x04eK\x00t\x89NtR").Replace(pickled))
	require.NoError(t, err)
	require.Equal(t, &tensor.Quant{Scales: []float64{0.5, 2}, ZeroPoints: []float64{3, 4}, Axis: 0}, got[0].Tensor.Quant)
}

// Big-endian files of every type are swapped by component, untyped storages
// (v3) by the type of the tensor.
func TestBigEndian(t *testing.T) {
	v3 := strings.NewReplacer("_v2", "_v3", "torch\nFloatStorage", "torch.storage\nUntypedStorage", "cpuK\x06", "cpuK\x0c",
		"NtR", "Nctorch\nuint16\ntR").Replace(pickled)
	data := []byte{0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 1, 0}
	got, err := parseBytes(archiveOf(t, rec{"data.pkl", []byte("\x80\x02" + v3 + ".")}, rec{"byteorder", []byte("big")}, rec{"data/0", data}))
	require.NoError(t, err)
	ints, err := got[0].Tensor.Ints()
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3, 4, 5, 256}, ints)
}

func TestOpenTensor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pt")
	want := tensor.FromInts(tensor.Int64, []int{7, 8}, 2)
	require.NoError(t, WriteFile(path, want))
	x, c, err := OpenTensor(path)
	require.NoError(t, err)
	require.Equal(t, want.Bytes(), x.Bytes())
	require.Equal(t, "cpu", x.Device)
	require.NoError(t, c.Close())

	for pickle, msg := range map[string]string{
		"}(U\x01a" + pickled + "U\x01b" + pickled + "u": "holds a dict with 2 tensors, want one bare tensor",
		"]":              "holds a list with 0 tensors, want one bare tensor",
		pickled + "\x85": "holds a tuple with 1 tensors, want one bare tensor",
		"K\x01":          "holds an object with 0 tensors, want one bare tensor",
	} {
		b := archiveOf(t, rec{"data.pkl", []byte("\x80\x02" + pickle + ".")}, rec{"data/0", make([]byte, 24)})
		require.NoError(t, os.WriteFile(path, b, 0o644))
		_, _, err := OpenTensor(path)
		require.EqualError(t, err, path+": "+msg)
	}
	_, _, err = OpenTensor(filepath.Dir(path))
	require.ErrorContains(t, err, "is a folder, not a file")
}

// deflatedArchive returns a file whose data/0 is compressed, and declared with
// the given size and checksum.
func deflatedArchive(t *testing.T, stream []byte, size uint32, crc uint32) []byte {
	t.Helper()
	b := archiveOf(t, rec{"data.pkl", []byte("\x80\x02" + pickled + ".")}, rec{"data/0", stream})
	for _, sig := range []struct {
		header string
		name   int // offset of the name
		method int
	}{{localSig, 30, 8}, {centralSig, 46, 10}} {
		for i := 0; i+sig.name+8 < len(b); i++ {
			if string(b[i:i+4]) != sig.header || string(b[i+sig.name:i+sig.name+8]) != "x/data/0" {
				continue
			}
			binary.LittleEndian.PutUint16(b[i+sig.method:], deflated)
			binary.LittleEndian.PutUint32(b[i+sig.method+6:], crc)
			binary.LittleEndian.PutUint32(b[i+sig.method+14:], size)
		}
	}
	return b
}

func deflate(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	require.NoError(t, err)
	_, err = w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func TestDeflated(t *testing.T) {
	data := []byte("abcdefghijklmnopqrstuvwx")
	stream, crc := deflate(t, data), crc32.ChecksumIEEE(data)
	for _, crc := range []uint32{crc, 0} {
		got, err := parseBytes(deflatedArchive(t, stream, 24, crc))
		require.NoError(t, err)
		require.Equal(t, data, got[0].Tensor.Bytes())
	}
	for _, c := range []struct {
		stream []byte
		size   uint32
		crc    uint32
		want   string
	}{
		{stream, 24, crc + 1, "checksum"},
		{stream, 23, crc, "the compressed data do not end after 23 bytes, as declared"},
		{stream, 25, crc, "inflating: unexpected EOF"},
		{append(bytes.Clone(stream), 0), 24, crc, "the compressed data do not end after 24 bytes, as declared"},
		{[]byte("\xff\xff\xff"), 24, crc, "inflating: flate: corrupt input"},
		{stream, 1 << 20, crc, "cannot inflate to 1048576"},
	} {
		_, err := parseBytes(deflatedArchive(t, c.stream, c.size, c.crc))
		require.ErrorContains(t, err, c.want)
	}
	// A bomb: 80 MB of zeros in 350 KB.
	bomb := deflate(t, make([]byte, 80<<20))
	_, err := parseBytes(deflatedArchive(t, bomb, 80<<20, 0))
	require.ErrorContains(t, err, "out of proportion to the file; store it without compression")
}

// Damage to the structure of a zip file.
func TestZipErrors(t *testing.T) {
	good := archiveOf(t, rec{"data.pkl", []byte("\x80\x02" + pickled + ".")}, rec{"data/0", make([]byte, 24)})
	_, err := parseBytes(good)
	require.NoError(t, err)
	end := len(good) - 22
	dir := int(le.Uint32(good[end+16:]))
	for _, c := range []struct {
		offset int
		bytes  string
		want   string
	}{
		{end + 4, "\x01", "an archive in several parts"},
		{end + 10, "\xff\x00", "several parts"},
		{end + 8, "\xff\x00\xff\x00", "255 records do not fit its"},
		{end + 8, "\x02\x00\x02\x00", "bytes after its last record"},
		{end + 12, "\xff\xff\xff\x7f", "would end after the end record at"},
		{dir, "PK\x05\x05", "no entry, want one that starts with PK\\1\\2"},
		{dir + 28, "\xff\x7f", "an entry of"},
		{dir + 20, "\xff\xff\xff\xff", "sizes of 4 GiB or more without a zip64 field"},
		{dir + 20, "\x01", "stored with 1 bytes for"},
		{8, "\x08", "the header at offset 0 contradicts the directory"},
		{30, "y", "the header at offset 0 is of another record"},
	} {
		b := bytes.Clone(good)
		copy(b[c.offset:], c.bytes)
		_, err := parseBytes(b)
		require.ErrorContains(t, err, c.want)
	}
	two := append(bytes.Clone(good), good[end:]...) // the second in the comment of the first
	two[end+20] = 22
	_, err = parseBytes(two)
	require.ErrorContains(t, err, "two end records")
	_, err = parseBytes(archiveOf(t, rec{"other", nil}))
	require.ErrorContains(t, err, "a zip file without the record data.pkl, so not one of torch.save")
	_, err = parseBytes(archiveOf(t, rec{"data.pkl", nil}, rec{"DATA.PKL", nil}))
	require.ErrorContains(t, err, `two records "x/DATA.PKL"`)
}
