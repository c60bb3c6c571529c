package il

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// JSON is the configuration as a file of it would say it, every key given.
func (c *Config) JSON() (jsontext.Value, error) {
	var match []string
	for _, p := range c.ModuleCallMatch {
		match = append(match, p.Entry)
	}
	out := struct {
		OutputDir        string   `json:"output_dir"`
		ModuleCallMatch  []string `json:"module_call_match,format:emitnull"`
		LogStepIDs       []int    `json:"log_step_ids"`
		LogPostFwdInputs bool     `json:"log_post_fwd_inputs"`
		MaxTensorSize    *int     `json:"max_tensor_size"`
		Enabled          bool     `json:"enabled"`
		DeviceNames      []string `json:"device_names"`
		ReloadInputDir   *string  `json:"reload_input_dir"`
	}{
		c.OutputDir, match, c.LogStepIDs, c.LogPostFwdInputs, c.MaxTensorSize, c.Enabled, c.DeviceNames, nil,
	}
	if c.ReloadInputDir != "" {
		out.ReloadInputDir = &c.ReloadInputDir
	}
	return json.Marshal(out)
}
