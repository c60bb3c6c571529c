package model

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// dialect is what the config.json of a family of models has otherwise than Llama's.
// Its zero value is Llama's own.
type dialect struct {
	// fields are those that read takes in, beside the common ones.
	fields []string
	// names are the common names of fields that the family calls otherwise:
	// "layer_norm_eps": "rms_norm_eps".
	names map[string]string
	// defaults of common fields that the file leaves out or has null, as JSON: those of the
	// family's class in transformers, under the common names.
	defaults map[string]string
	// ropeByLayer says that layers with a window may have a rope of their own.
	ropeByLayer bool
	// read takes in the family's own fields, after the common ones.
	read func(c *Config, o *object)
}

// dialectOf is that of the first architecture that is known.
func dialectOf(names []string) dialect {
	for _, n := range names {
		if a, ok := architectures[n]; ok {
			return a.dialect
		}
	}
	return dialect{}
}

// translate makes o one in Llama's dialect: fields under their common names, and the
// defaults of the family.
func (d *dialect) translate(o *object) {
	for i, key := range o.keys {
		common, ok := d.names[key]
		if !ok {
			continue
		}
		if o.has(common) && string(o.values[common].raw) != string(o.values[key].raw) {
			o.failKey(key, "is %s, but %s is %s", o.values[key].raw, common, o.values[common].raw)
		}
		o.keys[i], o.values[common] = common, o.values[key]
		delete(o.values, key)
	}
	for key, text := range d.defaults {
		if !o.has(key) {
			o.keys = append(slices.DeleteFunc(o.keys, func(k string) bool { return k == key }), key)
			o.values[key] = value{raw: jsontext.Value(text)}
		}
	}
}
