package model

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model/gopher1m"
	"github.com/stretchr/testify/require"
)

func TestOpenSingle(t *testing.T) {
	c, err := Open(fixture.Checkpoint("llama3-gqa"))
	require.NoError(t, err)
	defer c.Close()
	require.Empty(t, c.Warnings)
	require.Equal(t, 3, c.Config.NumHiddenLayers)
	require.Equal(t, []int{2}, c.Generation.EOSTokenIDs)
	require.True(t, c.Has("lm_head.weight"))
	require.False(t, c.Has("lm_head.bias"))
	all := c.Unused()
	require.Len(t, all, 3*9+3)
	x, err := c.Weight("model.embed_tokens.weight", 320, 64)
	require.NoError(t, err)
	require.Equal(t, "bfloat16[320,64]", x.String())
	require.Len(t, c.Unused(), len(all)-1)
	require.NotContains(t, c.Unused(), "model.embed_tokens.weight")
}

// The shards hold the same bytes as the session's writer saw: every tensor
// opens, none is left.
func TestOpenShards(t *testing.T) {
	dir := fixture.Checkpoint("llama-sharded")
	c, err := Open(dir)
	require.NoError(t, err)
	defer c.Close()
	require.Empty(t, c.Warnings)
	b, err := os.ReadFile(filepath.Join(dir, "model.safetensors.index.json"))
	require.NoError(t, err)
	var index struct {
		Metadata struct {
			TotalSize int `json:"total_size"`
		}
		WeightMap map[string]string `json:"weight_map"`
	}
	require.NoError(t, json.Unmarshal(b, &index))
	total := 0
	for name, file := range index.WeightMap {
		x, held, err := c.weights.tensor(name)
		require.NoError(t, err)
		require.Equal(t, file, held)
		_, err = c.Weight(name, x.Shape...)
		require.NoError(t, err)
		total += x.NumBytes()
	}
	require.Equal(t, index.Metadata.TotalSize, total)
	require.Empty(t, c.Unused())
	require.NoError(t, c.Close())
	require.NoError(t, c.Close(), "closing twice")
}

func TestOpenEmbedded(t *testing.T) {
	c, err := OpenFS(gopher1m.Name, gopher1m.FS())
	require.NoError(t, err)
	x, err := c.Weight("model.norm.weight", 128)
	require.NoError(t, err)
	onDisk, err := Open(fixture.Checkpoint("gopher-1m"))
	require.NoError(t, err)
	defer onDisk.Close()
	y, err := onDisk.Weight("model.norm.weight", 128)
	require.NoError(t, err)
	require.Equal(t, y.Bytes(), x.Bytes())
}

// folder reads a checkpoint fixture as a file system that a test may change.
func folder(t *testing.T, name string) fstest.MapFS {
	t.Helper()
	m := fstest.MapFS{}
	require.NoError(t, filepath.WalkDir(fixture.Checkpoint(name), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		m[filepath.Base(path)] = &fstest.MapFile{Data: b}
		return err
	}))
	return m
}

// edit replaces text in a file of the folder once.
func edit(file, old, now string) func(fstest.MapFS) {
	return func(m fstest.MapFS) {
		m[file] = &fstest.MapFile{Data: bytes.Replace(m[file].Data, []byte(old), []byte(now), 1)}
	}
}

func drop(files ...string) func(fstest.MapFS) {
	return func(m fstest.MapFS) {
		for _, f := range files {
			delete(m, f)
		}
	}
}

func put(file, text string) func(fstest.MapFS) {
	return func(m fstest.MapFS) { m[file] = &fstest.MapFile{Data: []byte(text)} }
}

func TestOpenErrors(t *testing.T) {
	shard2 := "model-00002-of-00005.safetensors"
	cases := []struct {
		name, from string
		change     func(fstest.MapFS)
		want       string
	}{
		{"empty folder", "", func(fstest.MapFS) {}, "m: not a model folder, it has neither config.json nor weights"},
		{"no config", "llama3-gqa", drop("config.json"), "m: the model folder has no config.json; copy it from where the weights came"},
		{"no weights", "llama3-gqa", drop("model.safetensors"), "m: the model folder has no weights; expected model.safetensors, or model.safetensors.index.json and its shards"},
		{"bad config", "llama3-gqa", put("config.json", "{}"), `m/config.json: "architectures" is missing: the class of the model, such as ["LlamaForCausalLM"]`},
		{"bad generation config", "llama3-gqa", put("generation_config.json", "[]"), "m/generation_config.json:1:1: the file is an array, expected an object"},
		{"empty bin", "llama3-gqa", func(m fstest.MapFS) { drop("model.safetensors")(m); put("pytorch_model.bin", "")(m) }, "m/pytorch_model.bin: an empty file, not one of torch.save"},
		{"only gguf", "llama3-gqa", func(m fstest.MapFS) { drop("model.safetensors")(m); put("model.gguf", "")(m) }, "m: expected model.safetensors, or model.safetensors.index.json and its shards; found only model.gguf, which cannot be read: convert it to safetensors"},
		{"shards without index", "llama-sharded", drop("model.safetensors.index.json"), "m: expected model.safetensors, or model.safetensors.index.json and its shards; found only files like model-00001-of-00005.safetensors, whose part of the model nothing names"},
		{"truncated header", "llama3-gqa", func(m fstest.MapFS) { m["model.safetensors"].Data = m["model.safetensors"].Data[:100] }, "m/model.safetensors: not a valid safetensors file: the header needs 3096 bytes, the file ends after 92: it is cut off, copy it again"},
		{"truncated data", "llama3-gqa", func(m fstest.MapFS) {
			m["model.safetensors"].Data = m["model.safetensors"].Data[:len(m["model.safetensors"].Data)-2]
		}, `m/model.safetensors: not a valid safetensors file: tensor "model.norm.weight" at bytes [346880,347008] reaches beyond the 347006 bytes of data: the file is cut off, copy it again`},
		{"duplicate name", "llama3-gqa", edit("model.safetensors", `"model.layers.1.mlp.up_proj`, `"model.layers.0.mlp.up_proj`), `m/model.safetensors: not a valid safetensors file: header: the name "model.layers.0.mlp.up_proj.weight" appears twice`},
		{"missing shard", "llama-sharded", drop(shard2), `m/` + shard2 + `: no such file; model.safetensors.index.json expects 9 tensors in it, such as "model.layers.0.input_layernorm.weight": download it again`},
		{"tensor not in its shard", "llama-sharded", edit("model.safetensors.index.json", `"lm_head.weight": "model-00005`, `"lm_head.weight": "model-00004`), `m/model-00004-of-00005.safetensors: no tensor "lm_head.weight", which model.safetensors.index.json names there`},
		{"shard outside", "llama-sharded", edit("model.safetensors.index.json", `"model-00005-of`, `"../model-00005-of`), `m/model.safetensors.index.json:7:23: /weight_map/lm_head.weight is "../model-00005-of-00005.safetensors", expected a *.safetensors file inside the folder`},
		{"shard of another kind", "llama-sharded", edit("model.safetensors.index.json", `"model-00005-of-00005.safetensors"`, `"config.json"`), `m/model.safetensors.index.json:7:23: /weight_map/lm_head.weight is "config.json", expected a *.safetensors file inside the folder`},
		{"shard of a number", "llama-sharded", edit("model.safetensors.index.json", `"model-00005-of-00005.safetensors"`, `5`), `m/model.safetensors.index.json:7:23: /weight_map/lm_head.weight is 5, expected a string`},
		{"index without map", "llama-sharded", put("model.safetensors.index.json", "{}"), `m/model.safetensors.index.json: "weight_map" is missing: the file of each tensor`},
		{"empty index", "llama-sharded", put("model.safetensors.index.json", `{"weight_map": {}}`), `m/model.safetensors.index.json:1:16: /weight_map names no tensor`},
		{"key twice in the index", "llama-sharded", put("model.safetensors.index.json", `{"weight_map": {"a": "x.safetensors", "a": "x.safetensors"}}`), `m/model.safetensors.index.json:1:39: key "a" appears twice`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := fstest.MapFS{}
			if c.from != "" {
				m = folder(t, c.from)
			}
			c.change(m)
			_, err := OpenFS("m", m)
			require.EqualError(t, err, c.want)
		})
	}
}

func TestOpenPathErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(filepath.Join(dir, "meta-llama", "Llama-3"))
	require.EqualError(t, err, filepath.Join(dir, "meta-llama", "Llama-3")+": no such folder; a model is a local folder with config.json and *.safetensors, nothing is downloaded")

	file := filepath.Join(fixture.Checkpoint("llama3-gqa"), "config.json")
	_, err = Open(file)
	require.EqualError(t, err, file+": is a file, expected a folder with config.json and *.safetensors")
}

func TestOpenWarnings(t *testing.T) {
	m := folder(t, "llama-sharded")
	edit("model.safetensors.index.json", `"total_size": 435328`, `"total_size": 1`)(m)
	edit("model.safetensors.index.json", `    "lm_head.weight": "model-00005-of-00005.safetensors",`+"\n", "")(m)
	c, err := OpenFS("m", m)
	require.NoError(t, err)
	require.Equal(t, []string{
		`m/model-00005-of-00005.safetensors: tensor "lm_head.weight" is not used: model.safetensors.index.json does not name it there`,
		"m/model.safetensors.index.json: metadata.total_size is 1, but the tensors take 394368 bytes",
	}, c.Warnings)
	require.False(t, c.Has("lm_head.weight"))

	m = folder(t, "llama3-gqa")
	put("model.safetensors.index.json", "")(m)
	c, err = OpenFS("m", m)
	require.NoError(t, err)
	require.Equal(t, []string{"m/model.safetensors is used and model.safetensors.index.json beside it is not"}, c.Warnings)
}

// Numbers by which memory is taken are what the weights can hold.
func TestSizes(t *testing.T) {
	for edits, want := range map[[2]string]string{
		{`"num_hidden_layers": 3`, `"num_hidden_layers": 1000000`}:    "m/config.json: num_hidden_layers is 1000000, but model.safetensors has only 30 tensors",
		{`"num_hidden_layers": 3`, `"num_hidden_layers": 2147483647`}: "m/config.json: num_hidden_layers is 2147483647, but model.safetensors has only 30 tensors",
		{`"head_dim": 8`, `"head_dim": 2147483646`}:                   "m/config.json: head_dim is 2147483646, but the largest tensor of model.safetensors has only 40960 bytes",
	} {
		m := folder(t, "llama3-gqa")
		require.Contains(t, string(m["config.json"].Data), edits[0])
		edit("config.json", edits[0], edits[1])(m)
		_, err := OpenFS("m", m)
		require.EqualError(t, err, want)
	}
}

func TestWeightErrors(t *testing.T) {
	c, err := OpenFS("m", folder(t, "llama-sharded"))
	require.NoError(t, err)
	_, err = c.Weight("model.layers.4.mlp.up_proj.weight", 176, 64)
	require.EqualError(t, err, `m/model.safetensors.index.json: no tensor "model.layers.4.mlp.up_proj.weight" of shape [176,64], which the model needs; the nearest is "model.layers.0.mlp.up_proj.weight"`)
	_, err = c.Weight("visual.x")
	require.EqualError(t, err, `m/model.safetensors.index.json: no tensor "visual.x" of shape [], which the model needs`)
	_, err = c.Weight("lm_head.weight", 320, 128)
	require.EqualError(t, err, `m/model-00005-of-00005.safetensors: tensor "lm_head.weight" has shape [320,64], expected [320,128] by config.json`)

	m := folder(t, "llama3-gqa")
	header := `{"w":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},"f8":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[2,4]},"f6":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[4,7]}}`
	m["model.safetensors"] = &fstest.MapFile{Data: append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), make([]byte, 7)...)}
	c, err = OpenFS("m", m)
	require.NoError(t, err)
	_, err = c.Weight("w", 2)
	require.EqualError(t, err, `m/model.safetensors: tensor "w" is int8, expected float64, float32, float16 or bfloat16; quantized checkpoints cannot be read`)
	_, err = c.Weight("f8", 2)
	require.EqualError(t, err, `m/model.safetensors: tensor "f8" is float8_e4m3fn, expected float64, float32, float16 or bfloat16; quantized checkpoints cannot be read`)
	_, err = c.Weight("f6", 4)
	require.EqualError(t, err, `m/model.safetensors: tensor "f6" has type F6_E2M3, which cannot be read; convert the checkpoint`)
	require.Equal(t, []string{"f6", "f8", "w"}, c.Unused(), "a refused tensor is not used")
}
