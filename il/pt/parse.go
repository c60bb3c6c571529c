package pt

import "fmt"

// Parse finds the tensors in the bytes of a file. They are views of data,
// except where bytes are compressed or big-endian. The name is for messages.
func Parse(name string, data []byte) (*File, error) {
	f := &File{}
	if err := f.parse(data, manyObjects); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}
