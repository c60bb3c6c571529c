package il

import "slices"

// Config says what the logger writes: the fields of vLLM's
// IntermediateLoggingConfig, with its defaults.
type Config struct {
	OutputDir        string    // sessions are made below it
	ModuleCallMatch  []Pattern // which calls of which modules; nil for all
	LogStepIDs       []int     // which steps; empty for all
	LogPostFwdInputs bool      // also log the inputs as the forward left them
	MaxTensorSize    *int      // tensors of more elements leave a stub; nil for no limit
	Enabled          bool
	DeviceNames      []string // devices whose tensors are written ("cuda:0"); empty for all
	ReloadInputDir   string   // a session whose inputs replace the logged ones; "" for none

	Quirks Quirks // how ModuleCallMatch was read and selects; no key of the file

	// Warnings tells what works otherwise than it looks, or than the GPU
	// logger does it, a line each.
	Warnings []string
}

// DefaultConfig returns the configuration that an empty JSON object gives:
// step 0 of every module, below /tmp/vllm_intermediates.
func DefaultConfig() *Config {
	return &Config{OutputDir: "/tmp/vllm_intermediates", LogStepIDs: []int{0}, Enabled: true}
}

// Select returns the calls of a module that the patterns select. An error
// means that a pattern gave up on the name.
//
// The first pattern that matches decides, and with it those of the same regex,
// so that "rotary_emb:0" and "rotary_emb:2" select two calls.
func (c *Config) Select(module string) (Selection, error) {
	if len(c.ModuleCallMatch) == 0 {
		return Selection{all: true}, nil
	}
	for i, p := range c.ModuleCallMatch {
		ok, err := p.re.Search(module)
		if err != nil {
			return Selection{}, err
		}
		if ok {
			s := selectionOf(p.Regex, c.ModuleCallMatch[i:])
			s.quirks = c.Quirks
			return s, nil
		}
	}
	return Selection{}, nil
}

// Selects reports whether the patterns select the inputs or the outputs of a
// call (0 for the first in a step). Where a pattern gives up on the name the
// call counts as selected; Select and Check tell.
func (c *Config) Selects(module string, d Direction, call int) bool {
	s, err := c.Select(module)
	return err != nil || s.Has(d, call)
}

// SelectsStep reports whether a step is logged.
func (c *Config) SelectsStep(step int) bool {
	return c.Enabled && (len(c.LogStepIDs) == 0 || slices.Contains(c.LogStepIDs, step))
}

// SelectsDevice reports whether tensors of a device ("cuda:0") are written.
func (c *Config) SelectsDevice(device string) bool {
	return len(c.DeviceNames) == 0 || slices.Contains(c.DeviceNames, device)
}

func (c *Config) warn(line string) {
	if !slices.Contains(c.Warnings, line) {
		c.Warnings = append(c.Warnings, line)
	}
}
