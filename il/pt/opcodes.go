package pt

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// argument is how the argument of an opcode is laid out.
type argument uint8

const (
	argNone  argument = iota
	arg1              // that many bytes
	arg2              //
	arg4              //
	arg8              //
	argLen1           // bytes after their length, of one byte
	argLen4           // … of four
	argLen8           // … of eight
	argLine           // text to the end of the line
	argLines          // two lines
)

// lengthBytes is how long the length itself is.
var lengthBytes = [...]uint64{argLen1: 1, argLen4: 4, argLen8: 8}

// read returns the argument (without its length or line end) and moves on.
func (a argument) read(v *verifier) ([]byte, error) {
	rest := v.in[v.pos:]
	var skip, n uint64
	switch a {
	case arg1, arg2, arg4, arg8:
		n = 1 << (a - arg1)
	case argLen1, argLen4, argLen8:
		skip = lengthBytes[a]
		if uint64(len(rest)) < skip {
			return nil, errCut
		}
		for i := range skip {
			n |= uint64(rest[i]) << (8 * i)
		}
	case argLine, argLines:
		return v.lines(int(a-argLine) + 1)
	}
	if n > uint64(len(rest))-skip || uint64(len(rest)) < skip {
		return nil, fmt.Errorf("an argument of %d bytes, and %d are left", n, uint64(len(rest))-skip)
	}
	v.pos += int(skip + n)
	return rest[skip : skip+n], nil
}

var errCut = errors.New("the pickle is cut short")

// lines returns the next n lines, joined by line ends.
func (v *verifier) lines(n int) ([]byte, error) {
	const longest = 512 // of a number, a module or a name
	start := v.pos
	for range n {
		rest := v.in[v.pos:]
		i := bytes.IndexByte(rest[:min(len(rest), longest)], '\n')
		if i < 0 {
			return nil, fmt.Errorf("no line end within %d bytes", min(len(rest), longest))
		}
		v.pos += i + 1
	}
	return v.in[start : v.pos-1], nil
}

// Bytes that gopickle v0.2.0 keeps for a value, about: for every opcode its
// cost in the table below, and these.
const (
	costPush    = 16 // on the stack
	costItem    = 20 // in a list, a dict or a set, with room to grow
	costMemo    = 24 // in the verifier's memo
	costFetched = 48 // in gopickle's memo, which has only what is fetched
	costMark    = 24 + 16*16
)

type opcode struct {
	name string
	arg  argument
	cost int
	do   func(v *verifier, arg []byte) error // nil: not allowed
}

// opcodes are those that the writers of .pt files use, protocols 1 to 5. Of
// the others only the names are known.
var opcodes = [256]opcode{
	0x80: {"PROTO", arg1, 0, proto},
	0x95: {"FRAME", arg8, 0, frame},
	'.':  {"STOP", argNone, 0, stop},

	'(':  {"MARK", argNone, costMark, mark},
	'0':  {"POP", argNone, 0, popOne},
	'1':  {"POP_MARK", argNone, 0, popToMark},
	'2':  {"DUP", argNone, costPush, dup},
	'h':  {"BINGET", arg1, costPush, getMemo},
	'j':  {"LONG_BINGET", arg4, costPush, getMemo},
	'q':  {"BINPUT", arg1, 0, putMemo},
	'r':  {"LONG_BINPUT", arg4, 0, putMemo},
	0x94: {"MEMOIZE", argNone, 0, memoize},

	'N':  {"NONE", argNone, costPush, scalar},
	0x88: {"NEWTRUE", argNone, costPush, scalar},
	0x89: {"NEWFALSE", argNone, costPush, scalar},
	'I':  {"INT", argLine, costPush + 64, intLine},
	'L':  {"LONG", argLine, costPush + 64, longLine},
	'J':  {"BININT", arg4, costPush + 8, scalar},
	'K':  {"BININT1", arg1, costPush, scalar},
	'M':  {"BININT2", arg2, costPush + 8, scalar},
	0x8a: {"LONG1", argLen1, costPush + 8, long},
	0x8b: {"LONG4", argLen4, costPush + 8, long},
	'G':  {"BINFLOAT", arg8, costPush + 8, scalar},

	'X':  {"BINUNICODE", argLen4, costPush + 16, unicodeText},
	0x8c: {"SHORT_BINUNICODE", argLen1, costPush + 16, unicodeText},
	0x8d: {"BINUNICODE8", argLen8, costPush + 16, unicodeText},
	'T':  {"BINSTRING", argLen4, costPush + 16, byteText},
	'U':  {"SHORT_BINSTRING", argLen1, costPush + 16, byteText},
	'B':  {"BINBYTES", argLen4, costPush + 24, bytesOf},
	'C':  {"SHORT_BINBYTES", argLen1, costPush + 24, bytesOf},
	0x8e: {"BINBYTES8", argLen8, costPush + 24, bytesOf},
	0x96: {"BYTEARRAY8", argLen8, costPush + 48, bytesOf},

	')':  {"EMPTY_TUPLE", argNone, costPush + 24, push(kTuple)},
	0x85: {"TUPLE1", argNone, costPush + 40, tuple(1)},
	0x86: {"TUPLE2", argNone, costPush + 56, tuple(2)},
	0x87: {"TUPLE3", argNone, costPush + 72, tuple(3)},
	't':  {"TUPLE", argNone, costPush + 24, collect(kTuple)},
	']':  {"EMPTY_LIST", argNone, costPush + 88, push(kList)},
	'l':  {"LIST", argNone, costPush + 24, collect(kList)},
	'a':  {"APPEND", argNone, 0, addTo(1, kList)},
	'e':  {"APPENDS", argNone, 0, addTo(0, kList)},
	'}':  {"EMPTY_DICT", argNone, costPush + 152, push(kDict)},
	'd':  {"DICT", argNone, costPush + 152, dict},
	's':  {"SETITEM", argNone, 2 * costItem, addTo(2, kDict, kODict)},
	'u':  {"SETITEMS", argNone, 0, setItems},
	0x8f: {"EMPTY_SET", argNone, costPush + 256, push(kSet)},
	0x90: {"ADDITEMS", argNone, 0, addItems},
	0x91: {"FROZENSET", argNone, costPush + 256, frozenSet},

	'c':  {"GLOBAL", argLines, costPush + 200, globalLines},
	0x93: {"STACK_GLOBAL", argNone, costPush + 200, stackGlobal},
	'R':  {"REDUCE", argNone, costPush, func(v *verifier, _ []byte) error { return v.call() }},
	0x81: {"NEWOBJ", argNone, costPush, func(v *verifier, _ []byte) error { return v.call() }},
	'b':  {"BUILD", argNone, 0, build},
	'Q':  {"BINPERSID", argNone, costPush, persistentID},

	'P': {name: "PERSID"}, 'S': {name: "STRING"}, 'V': {name: "UNICODE"}, 'F': {name: "FLOAT"},
	'g': {name: "GET"}, 'p': {name: "PUT"}, 'i': {name: "INST"}, 'o': {name: "OBJ"},
	0x82: {name: "EXT1"}, 0x83: {name: "EXT2"}, 0x84: {name: "EXT4"},
	0x92: {name: "NEWOBJ_EX"}, 0x97: {name: "NEXT_BUFFER"}, 0x98: {name: "READONLY_BUFFER"},
}

func proto(v *verifier, arg []byte) error {
	if arg[0] > 5 {
		return fmt.Errorf("protocol %d, want at most 5", arg[0])
	}
	return nil
}

// frame checks a frame, which only matters to those who read ahead.
func frame(v *verifier, arg []byte) error {
	n := le.Uint64(arg)
	switch {
	case v.at < v.frame:
		return fmt.Errorf("inside another frame, which ends at %d", v.frame)
	case n > uint64(len(v.in)-v.pos):
		return fmt.Errorf("%d bytes, and %d are left", n, len(v.in)-v.pos)
	}
	v.frame = v.pos + int(n)
	return nil
}

func stop(v *verifier, _ []byte) error {
	v.done = true
	_, err := v.pop(1)
	return err
}

func mark(v *verifier, _ []byte) error {
	if len(v.marks) >= maxMarks {
		return fmt.Errorf("nested more than %d deep", maxMarks)
	}
	v.marks = append(v.marks, len(v.stack))
	return nil
}

func popOne(v *verifier, _ []byte) error {
	if len(v.marks) > 0 && len(v.stack) == v.floor() { // the mark itself is on top
		_, err := v.popMark()
		return err
	}
	_, err := v.pop(1)
	return err
}

func popToMark(v *verifier, _ []byte) error {
	_, err := v.popMark()
	return err
}

func dup(v *verifier, _ []byte) error {
	s, err := v.top()
	if err != nil {
		return err
	}
	return v.push(s)
}

func memoIndex(arg []byte) uint32 {
	if len(arg) == 1 {
		return uint32(arg[0])
	}
	return le.Uint32(arg)
}

func getMemo(v *verifier, arg []byte) error { return v.get(memoIndex(arg)) }
func putMemo(v *verifier, arg []byte) error { return v.put(memoIndex(arg), 'q') }
func memoize(v *verifier, _ []byte) error   { return v.put(uint32(len(v.memo)), 'm') }

func push(k kind) func(*verifier, []byte) error {
	return func(v *verifier, _ []byte) error {
		return v.push(newSlot(k, 0))
	}
}

var scalar = push(kAny)

// intLine checks INT, with which protocol 1 also writes bools: 00 and 01.
func intLine(v *verifier, arg []byte) error {
	if _, err := strconv.Atoi(string(arg)); err != nil {
		return fmt.Errorf("%s, want a number", quote(string(arg)))
	}
	return scalar(v, arg)
}

func longLine(v *verifier, arg []byte) error {
	digits := bytes.TrimPrefix(bytes.TrimSuffix(arg, []byte("L")), []byte("-"))
	if len(digits) == 0 || len(digits) > 40 || bytes.ContainsFunc(digits, func(r rune) bool { return r < '0' || r > '9' }) {
		return fmt.Errorf("%s, want a number of at most 40 digits", quote(string(arg)))
	}
	return scalar(v, arg)
}

// long checks LONG1 and LONG4, two's complement.
func long(v *verifier, arg []byte) error {
	switch n := len(arg); {
	case n > math.MaxUint8:
		return fmt.Errorf("an integer of %d bytes", n)
	case n > 8:
		// Shifted into a big.Int byte by byte, each time a new one.
		if err := v.memory.spend(n * (n/2 + 32)); err != nil {
			return err
		}
	}
	return scalar(v, arg)
}

func unicodeText(v *verifier, arg []byte) error {
	if !utf8.Valid(arg) {
		return errors.New("not UTF-8")
	}
	return byteText(v, arg)
}

// byteText is a str of Python 2, of any bytes.
func byteText(v *verifier, arg []byte) error {
	if err := v.memory.spend(2 * len(arg)); err != nil {
		return err
	}
	return v.push(newSlot(kStr, v.at))
}

func bytesOf(v *verifier, arg []byte) error {
	if err := v.memory.spend(2 * len(arg)); err != nil {
		return err
	}
	return v.push(newSlot(kBytes, 0))
}

func tuple(n int) func(*verifier, []byte) error {
	return func(v *verifier, _ []byte) error {
		if _, err := v.pop(n); err != nil {
			return err
		}
		return v.push(newSlot(kTuple, 0))
	}
}

func collect(k kind) func(*verifier, []byte) error {
	return func(v *verifier, _ []byte) error {
		if _, err := v.popMark(); err != nil {
			return err
		}
		return v.push(newSlot(k, 0))
	}
}

func dict(v *verifier, _ []byte) error {
	items, err := v.popMark()
	if err != nil {
		return err
	}
	if err := v.pairs(items); err != nil {
		return err
	}
	return v.push(newSlot(kDict, 0))
}

// pairs checks items to be set in a dict.
func (v *verifier) pairs(items []slot) error {
	if len(items)%2 != 0 {
		return fmt.Errorf("%d keys and values, want pairs", len(items))
	}
	return v.memory.spend(len(items) * costItem)
}

// target checks that the value on top of the stack is one of these kinds.
func (v *verifier) target(kinds ...kind) error {
	s, err := v.top()
	if err != nil {
		return err
	}
	for _, k := range kinds {
		if s.kind() == k {
			return nil
		}
	}
	return errors.New("the value that it changes is of another type")
}

// addTo adds n values (0: those above the mark) to the value below them.
func addTo(n int, kinds ...kind) func(*verifier, []byte) error {
	return func(v *verifier, _ []byte) error {
		items, err := v.operands(n)
		if err != nil {
			return err
		}
		if err := v.memory.spend(len(items) * costItem); err != nil {
			return err
		}
		return v.target(kinds...)
	}
}

func (v *verifier) operands(n int) ([]slot, error) {
	if n == 0 {
		return v.popMark()
	}
	return v.pop(n)
}

func setItems(v *verifier, _ []byte) error {
	items, err := v.popMark()
	if err != nil {
		return err
	}
	if err := v.pairs(items); err != nil {
		return err
	}
	return v.target(kDict, kODict)
}

func addItems(v *verifier, _ []byte) error {
	items, err := v.popMark()
	if err != nil {
		return err
	}
	if err := v.hashable(items); err != nil {
		return err
	}
	return v.target(kSet)
}

func frozenSet(v *verifier, _ []byte) error {
	items, err := v.popMark()
	if err != nil {
		return err
	}
	if err := v.hashable(items); err != nil {
		return err
	}
	return v.push(newSlot(kAny, 0))
}

// hashable checks items of a set, which is a Go map in gopickle.
func (v *verifier) hashable(items []slot) error {
	for _, s := range items {
		if s.kind() == kBytes {
			return errors.New("bytes in a set are not read")
		}
	}
	return v.memory.spend(len(items) * 4 * costItem)
}

func globalLines(v *verifier, arg []byte) error {
	module, name, _ := bytes.Cut(arg, []byte("\n"))
	return v.global(string(module), string(name))
}

func stackGlobal(v *verifier, _ []byte) error {
	s, err := v.pop(2)
	if err != nil {
		return err
	}
	if s[0].kind() != kStr || s[1].kind() != kStr {
		return errors.New("module and name are not two strings")
	}
	return v.global(v.text(s[0].payload()), v.text(s[1].payload()))
}

func build(v *verifier, _ []byte) error {
	if _, err := v.pop(1); err != nil {
		return err
	}
	return v.target(kObject, kODict)
}

func persistentID(v *verifier, _ []byte) error {
	if v.plain {
		return errors.New("no storage is expected here")
	}
	s, err := v.pop(1)
	if err != nil {
		return err
	}
	if s[0].kind() != kTuple {
		return errors.New("the id of a storage is not a tuple")
	}
	return v.push(newSlot(kAny, 0))
}
