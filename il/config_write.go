package il

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// JSON is the configuration as a file of it would say it, every key given but the
// output_dir: what is recorded does not depend on where.
func (c *Config) JSON() (jsontext.Value, error) {
	var match *[]string // null for all
	if c.ModuleCallMatch != nil {
		match = &[]string{}
	}
	for _, p := range c.ModuleCallMatch {
		*match = append(*match, p.Entry)
	}
	out := struct {
		ModuleCallMatch  *[]string `json:"module_call_match"`
		LogStepIDs       []int     `json:"log_step_ids"`
		LogPostFwdInputs bool      `json:"log_post_fwd_inputs"`
		MaxTensorSize    *int      `json:"max_tensor_size"`
		Enabled          bool      `json:"enabled"`
		DeviceNames      []string  `json:"device_names"`
		ReloadInputDir   *string   `json:"reload_input_dir"`
	}{
		match, c.LogStepIDs, c.LogPostFwdInputs, c.MaxTensorSize, c.Enabled, c.DeviceNames, nil,
	}
	if c.ReloadInputDir != "" {
		out.ReloadInputDir = &c.ReloadInputDir
	}
	return json.Marshal(out)
}
