package tokenizer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// field is one field of a protobuf message in its wire form.
type field struct {
	number int
	wire   int    // 0 varint, 1 fixed64, 2 bytes, 5 fixed32
	value  uint64 // of the number types
	bytes  []byte // of wire type 2
}

var errProtobuf = errors.New("the protobuf data ends inside a field")

// fields calls f for each field of a message, in order.
func fields(b []byte, f func(field) error) error {
	for len(b) > 0 {
		key, n := binary.Uvarint(b)
		if n <= 0 || key>>3 == 0 || key>>3 > math.MaxInt32 {
			return fmt.Errorf("no valid protobuf field where one should begin")
		}
		b = b[n:]
		x := field{number: int(key >> 3), wire: int(key & 7)}
		switch x.wire {
		case 0:
			x.value, n = binary.Uvarint(b)
		case 1:
			n = 8
			if len(b) >= n {
				x.value = binary.LittleEndian.Uint64(b)
			}
		case 2:
			var size uint64
			if size, n = binary.Uvarint(b); n > 0 {
				if size > uint64(len(b)-n) {
					return errProtobuf
				}
				x.bytes = b[n : n+int(size)]
				n += int(size)
			}
		case 5:
			n = 4
			if len(b) >= n {
				x.value = uint64(binary.LittleEndian.Uint32(b))
			}
		default:
			return fmt.Errorf("protobuf field %d has the wire type %d, which is not supported", x.number, x.wire)
		}
		if n <= 0 || n > len(b) {
			return errProtobuf
		}
		b = b[n:]
		if err := f(x); err != nil {
			return err
		}
	}
	return nil
}

// is checks that a field has the wire type that its message declares.
func (f field) is(wire int) error {
	if f.wire != wire {
		return fmt.Errorf("protobuf field %d has the wire type %d, expected %d", f.number, f.wire, wire)
	}
	return nil
}

// float reads a fixed32 as a float.
func (f field) float() float32 { return math.Float32frombits(uint32(f.value)) }
