package pt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/ilref/ilref/tensor"
)

// pickler writes the pickle (protocol 2) of one tensor: the very bytes that
// torch 1.13 to 2.14 write for it.
type pickler struct {
	b     []byte
	next  int            // the next memo number
	memo  map[string]int // strings and globals that are in the memo
	store []*tensor.Tensor
}

// pickleTensor returns data.pkl and the tensors whose elements are the records
// data/0, data/1, …
func pickleTensor(t *tensor.Tensor) ([]byte, []*tensor.Tensor, error) {
	p := pickler{b: []byte{0x80, 2}, memo: map[string]int{}}
	var err error
	if t.DType.Kind() == tensor.KindQuantized {
		err = p.quantized(t)
	} else {
		p.tensor(t)
	}
	p.op('.')
	return p.b, p.store, err
}

func (p *pickler) tensor(t *tensor.Tensor) {
	class, typed := classOf[t.DType]
	rebuild := "torch._utils\n_rebuild_tensor_v2\n"
	if !typed {
		rebuild = "torch._utils\n_rebuild_tensor_v3\n"
	}
	p.global(rebuild)
	p.op('(')
	if typed {
		p.storage(t, "torch\n"+class+"\n", t.Numel())
	} else {
		p.storage(t, "torch.storage\nUntypedStorage\n", t.NumBytes())
	}
	p.geometry(t)
	p.noGradNoHooks()
	if !typed {
		p.global("torch\n" + t.DType.String() + "\n")
	}
	p.reduce()
}

// quantized writes a tensor with its scale and zero point; those of a
// dimension are tensors of their own (torch/_tensor.py _reduce_ex_internal).
func (p *pickler) quantized(t *tensor.Tensor) error {
	class, typed := classOf[t.DType]
	q := t.Quant
	switch {
	case !typed:
		return fmt.Errorf("%s packs several values in a byte, which is not written; convert it to quint8 first", t.DType)
	case q == nil:
		return fmt.Errorf("%s tensor without a scale and a zero point", t.DType)
	}
	zero := make([]int, len(q.ZeroPoints))
	for i, z := range q.ZeroPoints {
		if zero[i] = int(z); float64(zero[i]) != z {
			return fmt.Errorf("%s tensor with the zero point %g, want an integer", t.DType, z)
		}
	}
	p.global("torch._utils\n_rebuild_qtensor\n")
	p.op('(')
	p.storage(t, "torch\n"+class+"\n", t.Numel())
	p.geometry(t)
	switch {
	case q.Axis < 0 && len(q.Scales) == 1 && len(zero) == 1:
		p.global("torch\nper_tensor_affine\n")
		p.op('G')
		p.b = binary.BigEndian.AppendUint64(p.b, math.Float64bits(q.Scales[0]))
		p.int(zero[0])
		p.op(0x87)
	case q.Axis >= 0 && q.Axis < len(t.Shape) && len(q.Scales) == t.Shape[q.Axis] && len(zero) == len(q.Scales):
		p.op('(')
		p.global("torch\nper_channel_affine\n")
		p.tensor(tensor.FromFloat64s(tensor.Float64, q.Scales, len(q.Scales)))
		p.tensor(tensor.FromInts(tensor.Int64, zero, len(zero)))
		p.int(q.Axis)
		p.op('t')
	default:
		return errors.New("scales and zero points do not fit the shape " + tensor.ShapeString(t.Shape))
	}
	p.put()
	p.noGradNoHooks()
	p.reduce()
	return nil
}

// storage writes the persistent id of the next record. The location is always
// the CPU: any other makes torch.load fail where that device is missing.
func (p *pickler) storage(t *tensor.Tensor, class string, n int) {
	p.op('(')
	p.str("storage")
	p.global(class)
	p.str(strconv.Itoa(len(p.store)))
	p.str("cpu")
	p.int(n)
	p.op('t')
	p.put()
	p.op('Q')
	p.store = append(p.store, t)
}

// geometry writes the storage offset, the size and the stride of the tensor as
// it is stored: contiguous, from the start.
func (p *pickler) geometry(t *tensor.Tensor) {
	p.int(0)
	p.ints(t.Shape)
	p.ints(tensor.ContiguousStride(t.Shape))
}

func (p *pickler) noGradNoHooks() {
	p.op(0x89)
	p.global("collections\nOrderedDict\n")
	p.op(')')
	p.op('R')
	p.put()
}

// reduce ends a call: the tuple of arguments since the mark, and the call.
func (p *pickler) reduce() {
	p.op('t')
	p.put()
	p.op('R')
	p.put()
}

func (p *pickler) op(c byte) { p.b = append(p.b, c) }

// put writes BINPUT. A tensor takes fewer than 256 numbers.
func (p *pickler) put() {
	p.b = append(p.b, 'q', byte(p.next))
	p.next++
}

// once writes an object that may occur again: the first time whole, then from
// the memo.
func (p *pickler) once(code string) {
	if n, ok := p.memo[code]; ok {
		p.b = append(p.b, 'h', byte(n)) // BINGET
		return
	}
	p.memo[code] = p.next
	p.b = append(p.b, code...)
	p.put()
}

func (p *pickler) global(name string) { p.once("c" + name) }

func (p *pickler) str(s string) {
	p.once(string(binary.LittleEndian.AppendUint32([]byte{'X'}, uint32(len(s)))) + s)
}

func (p *pickler) int(n int) {
	switch {
	case 0 <= n && n <= math.MaxUint8:
		p.b = append(p.b, 'K', byte(n))
	case 0 <= n && n <= math.MaxUint16:
		p.b = binary.LittleEndian.AppendUint16(append(p.b, 'M'), uint16(n))
	case math.MinInt32 <= n && n <= math.MaxInt32:
		p.b = binary.LittleEndian.AppendUint32(append(p.b, 'J'), uint32(n))
	default: // LONG1: two's complement in as few bytes as hold it
		size := 5
		for size < 8 && int64(n)>>(8*size-1) != int64(n)>>63 {
			size++
		}
		b := binary.LittleEndian.AppendUint64(nil, uint64(n))
		p.b = append(append(p.b, 0x8a, byte(size)), b[:size]...)
	}
}

func (p *pickler) ints(v []int) {
	if len(v) == 0 {
		p.op(')')
		return
	}
	if len(v) > 3 {
		p.op('(')
	}
	for _, n := range v {
		p.int(n)
	}
	if len(v) > 3 {
		p.op('t')
	} else {
		p.op(0x84 + byte(len(v)))
	}
	p.put()
}
