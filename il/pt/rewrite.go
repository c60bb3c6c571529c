package pt

import (
	"encoding/binary"
	"strconv"
)

// rewrite returns the pickle in the form that gopickle v0.2.0 executes well:
//   - a global is an index into globals, so nothing else can be asked for;
//   - what is never fetched is not stored (writers store everything, and it is
//     most of what gopickle would allocate);
//   - there are no frames, which it would copy;
//   - a zero of no bytes (LONG1), on which it panics, is an ordinary one.
func (p *program) rewrite() []byte {
	code := make([]byte, 0, len(p.pickle))
	p.each(func(_ int, op []byte) bool { code = append(code, op...); return true })
	return code
}

// offset returns where in the record the opcode is that ends at or after the
// given offset in the rewritten pickle.
func (p *program) offset(code int) int {
	at := p.base
	n := 0
	p.each(func(pos int, op []byte) bool {
		at = p.base + pos
		n += len(op)
		return n < code
	})
	return at
}

// each calls f with every opcode as rewritten, until it returns false.
func (p *program) each(f func(pos int, op []byte) bool) {
	v := verifier{in: p.pickle}
	global, memoized := 0, uint32(0)
	var buf []byte
	for v.pos < len(p.pickle) {
		v.at = v.pos
		v.pos++
		arg, _ := opcodes[p.pickle[v.at]].arg.read(&v) // verified
		op := p.pickle[v.at:v.pos]
		buf = buf[:0]
		switch op[0] {
		case 0x95: // FRAME
			op = nil
		case 0x8a, 0x8b: // LONG1, LONG4
			if len(arg) == 0 {
				op = append(buf, 'K', 0)
			}
		case 'q', 'r':
			if !p.isFetched(v.at) {
				op = nil
			}
		case 0x94: // MEMOIZE
			op = nil
			if p.isFetched(v.at) {
				op = binary.LittleEndian.AppendUint32(append(buf, 'r'), memoized)
			}
			memoized++
		case 0x93, 'c': // STACK_GLOBAL: take its operands away
			if op[0] == 0x93 {
				buf = append(buf, "00"...)
			}
			op = append(strconv.AppendInt(append(buf, "c\n"...), int64(global), 10), '\n')
			global++
		}
		if !f(v.at, op) {
			return
		}
	}
}

func (p *program) isFetched(at int) bool {
	return at/64 < len(p.fetched) && p.fetched[at/64]&(1<<(at%64)) != 0
}
