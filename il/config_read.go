package il

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ilref/ilref/internal/nearest"
	"github.com/ilref/ilref/internal/sidefile"
)

const maxConfigFile = 1 << 20

// LoadConfig reads a configuration file (JSON). Errors are one line with
// file, line, column and the path in the JSON.
func LoadConfig(path string) (*Config, error) { return QuirksNone.LoadConfig(path) }

// ParseConfig reads a configuration from JSON text; name stands for it in
// errors. Keys that are absent keep the values of DefaultConfig.
func ParseConfig(name string, data []byte) (*Config, error) {
	return QuirksNone.ParseConfig(name, data)
}

// LoadConfig is the function LoadConfig with these quirks.
func (q Quirks) LoadConfig(path string) (*Config, error) {
	data, err := sidefile.ReadNamed(path, maxConfigFile)
	if err != nil {
		return nil, fmt.Errorf("il config: %w", err)
	}
	return q.ParseConfig(path, data)
}

// ParseConfig is the function ParseConfig with these quirks.
func (q Quirks) ParseConfig(name string, data []byte) (*Config, error) {
	c := DefaultConfig()
	c.Quirks = q
	s := source{name: name, data: data}
	top := field{source: s, raw: data}
	if err := top.object(func(key string, at int, v field) error {
		set, ok := configFields[key]
		if !ok {
			return s.errorAt(at, "unknown key %q at %s; %s", key, v.path, suggestKey(key))
		}
		return set(c, v)
	}); err != nil {
		return nil, err
	}
	c.Warnings = append(c.Warnings, c.matchWarnings()...)
	return c, nil
}

var configFields = map[string]func(*Config, field) error{
	"output_dir": func(c *Config, v field) (err error) {
		if c.OutputDir, err = v.text("a directory"); err == nil && c.OutputDir == "" {
			err = v.error("the directory is empty")
		}
		return err
	},
	"module_call_match": func(c *Config, v field) error {
		if v.raw.Kind() == 'n' {
			c.ModuleCallMatch = nil
			return nil
		}
		c.ModuleCallMatch = []Pattern{}
		return v.list(`a list of regexes ["…", …], or null for all modules`, func(e field) error {
			entry, err := e.text("a regex")
			if err != nil {
				return err
			}
			if err := c.addEntry(entry); err != nil {
				return e.error("%w", err)
			}
			return nil
		})
	},
	"log_step_ids": func(c *Config, v field) error {
		c.LogStepIDs = nil
		return v.list("a list of step numbers, empty for all steps", func(e field) error {
			n, err := e.count("a step number from 0 on")
			c.LogStepIDs = append(c.LogStepIDs, n)
			return err
		})
	},
	"log_post_fwd_inputs": func(c *Config, v field) (err error) {
		c.LogPostFwdInputs, err = v.boolean()
		return err
	},
	"max_tensor_size": func(c *Config, v field) error {
		c.MaxTensorSize = nil
		if v.raw.Kind() == 'n' {
			return nil
		}
		n, err := v.count("a number of elements from 0 on, or null for no limit")
		c.MaxTensorSize = &n
		return err
	},
	"enabled": func(c *Config, v field) (err error) {
		c.Enabled, err = v.boolean()
		return err
	},
	"device_names": func(c *Config, v field) error {
		c.DeviceNames = nil
		return v.list(`a list of devices as "cuda:0", empty for all devices`, func(e field) error {
			d, err := e.text(`a device as "cuda:0"`)
			if err == nil && !deviceName.MatchString(d) {
				err = e.error(`expected a device as "cuda:0" or "cpu", found %q`, d)
			}
			c.DeviceNames = append(c.DeviceNames, d)
			return err
		})
	},
	"reload_input_dir": func(c *Config, v field) (err error) {
		c.ReloadInputDir = ""
		if v.raw.Kind() != 'n' {
			c.ReloadInputDir, err = v.text("a session directory, or null")
		}
		return err
	},
}

// deviceName is str() of a torch device.
var deviceName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9]*(:[0-9]+)?$`)

func suggestKey(key string) string {
	keys := slices.Sorted(maps.Keys(configFields))
	if near := nearest.To(key, keys); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "the keys are " + strings.Join(keys, ", ")
}

// source is a JSON text that errors point into.
type source struct {
	name string
	data []byte
}

// errorAt makes an error of the byte at an offset: "file:line:column: …".
func (s source) errorAt(at int, format string, args ...any) error {
	before := s.data[:min(max(at, 0), len(s.data))]
	start := bytes.LastIndexByte(before, '\n') + 1
	args = append([]any{s.name, bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1}, args...)
	return fmt.Errorf("%s:%d:%d: "+format, args...)
}

// field is a JSON value within a source.
type field struct {
	source
	raw  jsontext.Value
	at   int    // byte offset in the source
	path string // JSON pointer
}

// error makes an error of the value, with its path in the JSON.
func (v field) error(format string, args ...any) error {
	return v.errorAt(v.at, "%s: "+format, append([]any{v.path}, args...)...)
}

func (v field) wrongType(want string) error {
	found := map[jsontext.Kind]string{
		'n': "null", 't': "true", 'f': "false", '"': "the string " + string(v.raw), '0': "the number " + string(v.raw), '{': "an object", '[': "a list",
	}[v.raw.Kind()]
	return v.error("expected %s, found %s", want, found)
}

func (v field) text(want string) (string, error) {
	if v.raw.Kind() != '"' {
		return "", v.wrongType(want)
	}
	b, err := jsontext.AppendUnquote(nil, v.raw)
	if err != nil {
		return "", v.error("%w", err)
	}
	return string(b), nil
}

func (v field) boolean() (bool, error) {
	if k := v.raw.Kind(); k != 't' && k != 'f' {
		return false, v.wrongType("true or false")
	}
	return v.raw.Kind() == 't', nil
}

// count reads an integer from 0 on.
func (v field) count(want string) (int, error) {
	n, err := strconv.Atoi(string(v.raw))
	if err != nil || n < 0 {
		return 0, v.wrongType(want)
	}
	return n, nil
}

// list calls f with every element.
func (v field) list(want string, f func(field) error) error {
	if v.raw.Kind() != '[' {
		return v.wrongType(want)
	}
	d := jsontext.NewDecoder(bytes.NewReader(v.raw))
	if _, err := d.ReadToken(); err != nil {
		return v.syntax(err)
	}
	for i := 0; d.PeekKind() != ']'; i++ {
		e, err := v.next(d, fmt.Sprintf("%s/%d", v.path, i))
		if err == nil {
			err = f(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// object calls f with every key, its offset and its value, and refuses what
// follows the object.
func (v field) object(f func(key string, at int, value field) error) error {
	d := jsontext.NewDecoder(bytes.NewReader(v.raw))
	t, err := d.ReadToken()
	if err != nil {
		return v.syntax(err)
	}
	if t.Kind() != '{' {
		return v.errorAt(v.tokenStart(0), "expected an object with the keys %s", strings.Join(slices.Sorted(maps.Keys(configFields)), ", "))
	}
	for d.PeekKind() != '}' {
		at := v.tokenStart(d.InputOffset())
		t, err := d.ReadToken()
		if err != nil {
			return v.syntax(err)
		}
		key := t.String()
		value, err := v.next(d, string(jsontext.Pointer(v.path).AppendToken(key)))
		if err == nil {
			err = f(key, at, value)
		}
		if err != nil {
			return err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return v.syntax(err)
	}
	end := d.InputOffset()
	switch _, err := d.ReadToken(); {
	case err == nil:
		return v.errorAt(v.tokenStart(end), "text after the end of the configuration")
	case !errors.Is(err, io.EOF):
		return v.syntax(err)
	}
	return nil
}

// next reads the next value of a decoder over v.
func (v field) next(d *jsontext.Decoder, path string) (field, error) {
	raw, err := d.ReadValue()
	if err != nil {
		return field{}, v.syntax(err)
	}
	at := v.at + int(d.InputOffset()) - len(raw)
	return field{v.source, bytes.Clone(raw), at, path}, nil
}

// tokenStart returns where the token begins that follows an offset of v.
func (v field) tokenStart(after int64) int {
	rest := v.raw[after:]
	return v.at + int(after) + len(rest) - len(bytes.TrimLeft(rest, " \t\r\n,:"))
}

// syntax places an error of the JSON text itself.
func (v field) syntax(err error) error {
	var se *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return v.errorAt(len(v.data), "the JSON ends too early")
	case !errors.As(err, &se):
		return v.errorAt(v.at, "invalid JSON: %w", err)
	}
	at := v.at + int(se.ByteOffset)
	path := string(se.JSONPointer)
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return v.errorAt(at, "duplicate key %q at %s", se.JSONPointer.LastToken(), path)
	}
	if path != "" {
		path = " at " + path
	}
	return v.errorAt(at, "invalid JSON%s: %w", path, se.Err)
}
