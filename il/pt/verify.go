package pt

import (
	"errors"
	"fmt"
	"strings"
)

const (
	maxPickle = 64 << 20 // bytes of a pickle; slots address it with 26 bits
	maxOps    = 4 << 20  // opcodes of a pickle; a tensor takes about 40
	maxStack  = 1 << 18  // values on the stack; pickle.py batches by 1000
	maxMarks  = 4096     // open marks: how deep a pickle nests while it is read
)

// kind is what the verifier knows of a value on the stack: what an opcode may
// do to it.
type kind uint32

const (
	kAny     kind = iota // a scalar, or an object that nothing is done to
	kStr                 // payload: the offset of its opcode
	kBytes               // bytes, which Go cannot put into a set
	kTuple               //
	kList                // takes APPEND
	kDict                // takes SETITEM
	kSet                 // takes ADDITEMS
	kCall                // a function of the allow-list; payload: index into globals
	kForeign             // any other global: inert; payload: index into globals
	kObject              // the result of a call: takes BUILD
	kODict               // the result of OrderedDict(): takes SETITEM and BUILD
)

// slot is a value on the verifier's stack: a kind and a payload.
type slot uint32

const payloadBits = 26

func newSlot(k kind, payload int) slot { return slot(k)<<payloadBits | slot(payload) }
func (s slot) kind() kind              { return kind(s >> payloadBits) }
func (s slot) payload() int            { return int(s & (1<<payloadBits - 1)) }

// program is a verified pickle: every length is inside it, every opcode finds
// operands of the right kind, and every global is on the allow-list or inert.
type program struct {
	record  string
	base    int       // offset of the pickle in the record
	pickle  []byte    // up to its STOP
	ops     int       // opcodes in it
	globals []*global // in the order of GLOBAL and STACK_GLOBAL
	fetched []uint64  // a bit for each offset of a PUT or MEMOIZE that a GET needs
}

// verifier simulates the stack machine of a pickle on kinds alone, as a
// bytecode verifier does. What gopickle does with a verified pickle can then
// neither panic nor allocate more than the budget. Lengths alone would not do:
// gopickle prints the operands of an instruction that fails, and a list of 300
// references to one string of 1 MiB makes that an error of 300 MB.
type verifier struct {
	program
	in     []byte
	pos    int // of the next opcode
	at     int // of the current one
	frame  int // end of the current frame, or 0
	done   bool
	plain  bool // globals and storages are not allowed
	stack  []slot
	marks  []int
	memo   []memoEntry
	puts   byte // 'q' once PUT was used, 'm' once MEMOIZE was
	memory *budget
}

// memoEntry is a value in the memo, and where it was put there.
type memoEntry struct {
	slot slot
	at   uint32
	set  bool
}

// verify checks the pickle that data starts with. base is the offset of data in
// the record. plain forbids globals and persistent ids.
func verify(record string, data []byte, base int, plain bool, memory *budget) (*program, error) {
	v := &verifier{in: data, plain: plain, memory: memory}
	v.record, v.base = record, base
	for !v.done {
		if err := v.step(); err != nil {
			return nil, faultf(record, base+v.at, "%v", err)
		}
	}
	v.pickle = data[:v.pos]
	return &v.program, nil
}

func (v *verifier) step() error {
	v.at = v.pos
	switch {
	case v.pos >= maxPickle:
		return fmt.Errorf("pickle of more than %d MiB", maxPickle>>20)
	case v.pos >= len(v.in):
		return errors.New("the pickle is cut short: no STOP")
	case v.ops >= maxOps:
		return fmt.Errorf("pickle of more than %d opcodes", maxOps)
	}
	v.ops++
	code := v.in[v.pos]
	op := &opcodes[code]
	if op.do == nil {
		return fmt.Errorf("opcode 0x%02x%s is not one that torch writes", code, parens(op.name))
	}
	v.pos++
	arg, err := op.arg.read(v)
	if err != nil {
		return fmt.Errorf("%s: %w", op.name, err)
	}
	if v.frame > v.at && v.frame < v.pos {
		return fmt.Errorf("%s crosses the end of its frame at %d", op.name, v.frame)
	}
	if err := v.memory.spend(op.cost); err != nil {
		return err
	}
	if err := op.do(v, arg); err != nil {
		return fmt.Errorf("%s: %w", op.name, err)
	}
	return nil
}

func parens(name string) string {
	if name == "" {
		return ""
	}
	return " (" + name + ")"
}

// floor is the height of the stack at the last mark.
func (v *verifier) floor() int {
	if len(v.marks) == 0 {
		return 0
	}
	return v.marks[len(v.marks)-1]
}

func (v *verifier) push(s slot) error {
	if len(v.stack) >= maxStack {
		return fmt.Errorf("more than %d values on the stack", maxStack)
	}
	v.stack = append(v.stack, s)
	return nil
}

// pop takes n values above the last mark off the stack.
func (v *verifier) pop(n int) ([]slot, error) {
	if len(v.stack)-v.floor() < n {
		return nil, fmt.Errorf("%d values on the stack, want %d", len(v.stack)-v.floor(), n)
	}
	top := v.stack[len(v.stack)-n:]
	v.stack = v.stack[:len(v.stack)-n]
	return top, nil
}

// popMark takes the values above the last mark, and the mark, off the stack.
func (v *verifier) popMark() ([]slot, error) {
	if len(v.marks) == 0 {
		return nil, fmt.Errorf("no MARK on the stack")
	}
	items := v.stack[v.floor():]
	v.stack = v.stack[:v.floor()]
	v.marks = v.marks[:len(v.marks)-1]
	return items, nil
}

// top returns the kind of the value on top of the stack.
func (v *verifier) top() (slot, error) {
	s, err := v.pop(1)
	if err != nil {
		return 0, err
	}
	v.stack = v.stack[:len(v.stack)+1]
	return s[0], nil
}

// put stores the value on top under an index. Writers count up from 0, so the
// memo is dense.
func (v *verifier) put(index uint32, how byte) error {
	s, err := v.top()
	switch {
	case err != nil:
		return err
	case v.puts != 0 && v.puts != how:
		return errors.New("PUT and MEMOIZE in one pickle")
	case int64(index) > int64(2*len(v.memo)+1024):
		return fmt.Errorf("index %d, and the highest so far is %d", index, len(v.memo)-1)
	}
	v.puts = how
	for int64(len(v.memo)) <= int64(index) {
		if err := v.memory.spend(costMemo); err != nil {
			return err
		}
		v.memo = append(v.memo, memoEntry{})
	}
	v.memo[index] = memoEntry{slot: s, at: uint32(v.at), set: true}
	return nil
}

func (v *verifier) get(index uint32) error {
	if int64(index) >= int64(len(v.memo)) || !v.memo[index].set {
		return fmt.Errorf("nothing is stored under %d", index)
	}
	m := v.memo[index]
	if err := v.memory.spend(costFetched); err != nil {
		return err
	}
	for len(v.fetched) <= int(m.at/64) {
		v.fetched = append(v.fetched, 0)
	}
	v.fetched[m.at/64] |= 1 << (m.at % 64)
	return v.push(m.slot)
}

// global pushes what a module and a name stand for.
func (v *verifier) global(module, name string) error {
	if v.plain {
		return fmt.Errorf("%s %s is not expected here", quote(module), quote(name))
	}
	g, err := lookUp(module, name)
	if err != nil {
		return err
	}
	if g.foreign {
		g.offset = v.base + v.at
		if err := v.memory.spend(1024); err != nil {
			return err
		}
	}
	i := len(v.globals)
	v.globals = append(v.globals, g)
	switch {
	case g.foreign:
		return v.push(newSlot(kForeign, i))
	case g.call != nil:
		return v.push(newSlot(kCall, i))
	}
	return v.push(newSlot(kAny, 0))
}

// call replaces a function and its arguments with a result.
func (v *verifier) call() error {
	s, err := v.pop(2)
	if err != nil {
		return err
	}
	switch fn, args := s[0], s[1]; {
	case fn.kind() == kForeign:
		return fmt.Errorf("a call of %s, which is not one of the functions that make tensors; nothing of it was run", v.globals[fn.payload()])
	case fn.kind() != kCall:
		return fmt.Errorf("a call of something that is no function")
	case args.kind() != kTuple:
		return fmt.Errorf("a call of %s without a tuple of arguments", v.globals[fn.payload()])
	default:
		return v.push(newSlot(v.globals[fn.payload()].result, 0))
	}
}

// text returns the string that the opcode at an offset pushes.
func (v *verifier) text(offset int) string {
	a := argLen4
	switch v.in[offset] {
	case 'U', 0x8c:
		a = argLen1
	case 0x8d:
		a = argLen8
	}
	pos := v.pos
	v.pos = offset + 1
	arg, _ := a.read(v) // it was read before
	v.pos = pos
	return string(arg)
}

func isName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
