package pt

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

const (
	localSig   = "PK\x03\x04"
	centralSig = "PK\x01\x02"
	endSig     = "PK\x05\x06"
	end64Sig   = "PK\x06\x06"
	locSig     = "PK\x06\x07"

	alignment = 64             // of every payload in the file, as in torch
	max32     = math.MaxUint32 // "look in the zip64 extra" in a 32-bit field
	utf8Names = 0x0800         // general purpose flag 11
)

// archive writes a zip file of stored records, in the layout of torch. Nothing
// is written twice, so the target need not seek.
type archive struct {
	w       *bufio.Writer
	prefix  string
	pos     uint64 // bytes written
	central []byte
	records int
}

// entry is what both headers of a record say.
type entry struct {
	name   string
	size   uint64
	crc    uint32
	offset uint64 // of the local header
}

// add writes a record. each calls its argument with the pieces of the payload
// in order, and is run twice: the checksum stands before the payload.
func (a *archive) add(name string, size uint64, each func(func([]byte) error) error) error {
	e := entry{name: a.prefix + "/" + name, size: size, offset: a.pos}
	if err := each(func(b []byte) error { e.crc = crc32.Update(e.crc, crc32.IEEETable, b); return nil }); err != nil {
		return err
	}
	if err := a.write(e.local()); err != nil {
		return err
	}
	start := a.pos
	if err := each(a.write); err != nil {
		return err
	}
	if a.pos-start != size {
		return fmt.Errorf("record %s: %d bytes written, want %d", name, a.pos-start, size)
	}
	a.central = append(a.central, e.centralHeader()...)
	a.records++
	return nil
}

func (a *archive) addBytes(name string, b []byte) error {
	return a.add(name, uint64(len(b)), func(f func([]byte) error) error { return f(b) })
}

// close writes the central directory.
func (a *archive) close() error {
	start := a.pos
	if err := a.write(a.central); err != nil {
		return err
	}
	if err := a.write(endOfDirectory(a.records, start, uint64(len(a.central)))); err != nil {
		return err
	}
	return a.w.Flush()
}

func (a *archive) write(b []byte) error {
	n, err := a.w.Write(b)
	a.pos += uint64(n)
	return err
}

// local returns the header before the payload. Its extra field "FB" pads the
// payload to the alignment, as torch's does.
func (e entry) local() []byte {
	le := binary.LittleEndian
	var extra []byte
	if e.big() {
		extra = append(extra, 1, 0, 16, 0)
		extra = le.AppendUint64(extra, e.size)
		extra = le.AppendUint64(extra, e.size)
	}
	end := e.offset + 30 + uint64(len(e.name)+len(extra)+4)
	pad := int(-end % alignment)
	extra = le.AppendUint16(append(extra, 'F', 'B'), uint16(pad))
	for range pad {
		extra = append(extra, 'Z')
	}

	b := append(make([]byte, 0, 30+len(e.name)+len(extra)), localSig...)
	b = e.common(b)
	b = le.AppendUint16(b, uint16(len(extra)))
	b = append(b, e.name...)
	return append(b, extra...)
}

// centralHeader returns the record's entry in the central directory.
func (e entry) centralHeader() []byte {
	le := binary.LittleEndian
	var extra []byte
	if e.big() {
		extra = le.AppendUint64(extra, e.size)
		extra = le.AppendUint64(extra, e.size)
	}
	if e.offset >= max32 {
		extra = le.AppendUint64(extra, e.offset)
	}
	if len(extra) > 0 {
		extra = append([]byte{1, 0, byte(len(extra)), 0}, extra...)
	}

	b := append(make([]byte, 0, 46+len(e.name)+len(extra)), centralSig...)
	b = le.AppendUint16(b, 0) // made by: MS-DOS, no version, no attributes
	b = e.common(b)
	b = le.AppendUint16(b, uint16(len(extra)))
	b = append(b, make([]byte, 2+2+2+4)...) // comment, disk, attributes
	b = le.AppendUint32(b, uint32(min(e.offset, max32)))
	b = append(b, e.name...)
	return append(b, extra...)
}

// common appends the fields that both headers share, from the version needed
// to the length of the name.
func (e entry) common(b []byte) []byte {
	le := binary.LittleEndian
	version := uint16(0)
	if e.big() || e.offset >= max32 {
		version = 45 // zip64
	}
	b = le.AppendUint16(b, version)
	b = le.AppendUint16(b, utf8Names)
	b = append(b, 0, 0, 0, 0, 0, 0) // stored; no time, no date
	b = le.AppendUint32(b, e.crc)
	b = le.AppendUint32(b, uint32(min(e.size, max32)))
	b = le.AppendUint32(b, uint32(min(e.size, max32)))
	return le.AppendUint16(b, uint16(len(e.name)))
}

func (e entry) big() bool { return e.size >= max32 }

// endOfDirectory returns the records after the central directory: in the zip64
// form only where a number needs it.
func endOfDirectory(records int, start, size uint64) []byte {
	le := binary.LittleEndian
	var b []byte
	if start >= max32 || size >= max32 || records >= math.MaxUint16 {
		b = append(b, end64Sig...)
		b = le.AppendUint64(b, 56-12)
		b = append(b, 45, 0, 45, 0)         // made by, needed
		b = append(b, make([]byte, 4+4)...) // disks
		b = le.AppendUint64(b, uint64(records))
		b = le.AppendUint64(b, uint64(records))
		b = le.AppendUint64(b, size)
		b = le.AppendUint64(b, start)
		b = append(b, locSig...)
		b = append(b, 0, 0, 0, 0)
		b = le.AppendUint64(b, start+size)
		b = append(b, 1, 0, 0, 0)
	}
	b = append(b, endSig...)
	b = append(b, 0, 0, 0, 0) // disks
	b = le.AppendUint16(b, uint16(min(records, math.MaxUint16)))
	b = le.AppendUint16(b, uint16(min(records, math.MaxUint16)))
	b = le.AppendUint32(b, uint32(min(size, max32)))
	b = le.AppendUint32(b, uint32(min(start, max32)))
	return append(b, 0, 0) // no comment
}
