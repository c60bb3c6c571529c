package pt

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"
)

const directory = "zip directory" // the name of that part in errors

// archiveReader reads the records of a zip file. The central directory is what
// counts; a local header must agree with it before its record is used.
type archiveReader struct {
	data    []byte
	end     int    // where the central directory starts and records must end
	root    string // the folder of all records, with its slash
	records map[string]record
	copies  *budget // for the records that cannot be used in place
}

// record is one entry of the central directory.
type record struct {
	name        string
	method      uint16
	crc         uint32
	csize, size uint64
	header      uint64
}

const (
	stored   = 0
	deflated = 8

	// No deflate stream grows more (two bits a run of 258 bytes).
	maxRatio = 1032
)

var le = binary.LittleEndian

// openArchive reads and checks the central directory.
func openArchive(data []byte) (*archiveReader, error) {
	d, err := findDirectory(data)
	if err != nil {
		return nil, err
	}
	z := &archiveReader{data: data, end: d.start, records: make(map[string]record, min(d.records, 1<<16))}
	pos, end := d.start, d.start+d.size
	for range d.records {
		r, next, err := readEntry(data[:end], pos)
		if err != nil {
			return nil, err
		}
		if err := z.add(r, pos); err != nil {
			return nil, err
		}
		pos = next
	}
	if pos != end {
		return nil, faultf(directory, pos, "%d bytes after its last record", end-pos)
	}
	return z, nil
}

// extent is where the central directory lies, as its end record says.
type extent struct{ start, size, records int }

func findDirectory(data []byte) (extent, error) {
	eocd, other := -1, -1
	last := max(0, len(data)-22) // the last place for an end record
	for i := max(0, last-math.MaxUint16); i <= last; i++ {
		k := bytes.Index(data[i:min(last+4, len(data))], []byte(endSig))
		if k < 0 {
			break
		}
		if i += k; i <= len(data)-22 && int(le.Uint16(data[i+20:])) == len(data)-i-22 {
			eocd, other = i, eocd
		}
	}
	if other >= 0 {
		return extent{}, faultf(directory, other, "two end records; the other is at %d", eocd)
	}
	if eocd < 0 {
		return extent{}, faultf(directory, len(data), "no end record: the file is cut short, or something was appended to it")
	}
	b := data[eocd:]
	start, size, records := uint64(le.Uint32(b[16:])), uint64(le.Uint32(b[12:])), uint64(le.Uint16(b[10:]))
	disks := le.Uint32(b[4:]) != 0 || le.Uint16(b[8:]) != le.Uint16(b[10:])
	limit := eocd
	if eocd >= 20 && string(data[eocd-20:eocd-16]) == locSig {
		pos := le.Uint64(data[eocd-12:])
		if pos > uint64(eocd-20) || uint64(eocd-20)-pos < 56 || string(data[pos:pos+4]) != end64Sig {
			return extent{}, faultf(directory, eocd-20, "the zip64 locator points to %d, where no zip64 end record is", pos)
		}
		b := data[pos:]
		start64, size64, records64 := le.Uint64(b[48:]), le.Uint64(b[40:]), le.Uint64(b[32:])
		if (start != max32 && start != start64) || (size != max32 && size != size64) || (records != math.MaxUint16 && records != records64) {
			return extent{}, faultf(directory, int(pos), "the zip64 end record contradicts the end record at %d", eocd)
		}
		start, size, records, limit = start64, size64, records64, int(pos)
	}
	switch {
	case disks:
		return extent{}, faultf(directory, eocd, "an archive in several parts")
	case start > uint64(limit) || size > uint64(limit)-start:
		return extent{}, faultf(directory, eocd, "%d bytes at %d would end after the end record at %d", size, start, limit)
	case records > size/46:
		return extent{}, faultf(directory, eocd, "%d records do not fit its %d bytes", records, size)
	}
	return extent{int(start), int(size), int(records)}, nil
}

// readEntry reads the entry of the central directory at pos, which ends with
// data, and returns where the next one starts.
func readEntry(data []byte, pos int) (record, int, error) {
	b := data[pos:]
	if len(b) < 46 || string(b[:4]) != centralSig {
		return record{}, 0, faultf(directory, pos, "no entry, want one that starts with PK\\1\\2")
	}
	n, m, k := int(le.Uint16(b[28:])), int(le.Uint16(b[30:])), int(le.Uint16(b[32:]))
	if len(b) < 46+n+m+k {
		return record{}, 0, faultf(directory, pos, "an entry of %d bytes, and %d are left", 46+n+m+k, len(b))
	}
	r := record{
		name:   string(b[46 : 46+n]),
		method: le.Uint16(b[10:]),
		crc:    le.Uint32(b[16:]),
		csize:  uint64(le.Uint32(b[20:])),
		size:   uint64(le.Uint32(b[24:])),
		header: uint64(le.Uint32(b[42:])),
	}
	if err := r.zip64(b[46+n : 46+n+m]); err != nil {
		return r, 0, faultf(directory, pos, "record %s: %v", quote(r.name), err)
	}
	switch {
	case le.Uint16(b[8:])&(1|1<<6|1<<13) != 0:
		return r, 0, faultf(directory, pos, "record %s is encrypted", quote(r.name))
	case r.method != stored && r.method != deflated:
		return r, 0, faultf(directory, pos, "record %s: compression method %d, want 0 (stored) or 8 (deflated)", quote(r.name), r.method)
	case r.method == stored && r.csize != r.size:
		return r, 0, faultf(directory, pos, "record %s: stored with %d bytes for %d", quote(r.name), r.csize, r.size)
	case r.method == deflated && r.size/maxRatio > r.csize:
		return r, 0, faultf(directory, pos, "record %s: %d bytes cannot inflate to %d", quote(r.name), r.csize, r.size)
	}
	return r, pos + 46 + n + m + k, nil
}

// zip64 takes the numbers that do not fit 32 bits from the extra field.
func (r *record) zip64(extra []byte) error {
	want := []*uint64{}
	for _, p := range []*uint64{&r.size, &r.csize, &r.header} {
		if *p == max32 {
			want = append(want, p)
		}
	}
	for len(extra) >= 4 && len(want) > 0 {
		id, n := le.Uint16(extra), int(le.Uint16(extra[2:]))
		if n > len(extra)-4 {
			break
		}
		if id == 1 && n >= 8*len(want) {
			for i, p := range want {
				*p = le.Uint64(extra[4+8*i:])
			}
			return nil
		}
		extra = extra[4+n:]
	}
	if len(want) > 0 {
		return errors.New("sizes of 4 GiB or more without a zip64 field")
	}
	return nil
}

// add notes a record under its name below the root. torch looks names up
// without regard to case, so no two may differ in case only.
func (z *archiveReader) add(r record, pos int) error {
	slash := strings.IndexByte(r.name, '/')
	if z.root == "" {
		z.root = r.name[:slash+1]
	}
	if slash < 0 || z.root != r.name[:slash+1] {
		return faultf(directory, pos, "record %s is outside the one folder that torch.save makes", quote(r.name))
	}
	name := strings.ToLower(r.name[slash+1:])
	if _, twice := z.records[name]; twice {
		return faultf(directory, pos, "two records %s", quote(r.name))
	}
	z.records[name] = r
	return nil
}

func (z *archiveReader) has(name string) bool {
	_, ok := z.records[name]
	return ok
}

// bytes returns the content of a record: a view of the file, or for a deflated
// record a copy. limit bounds its size.
func (z *archiveReader) bytes(name string, limit int) ([]byte, error) {
	r, ok := z.records[name]
	if !ok {
		return nil, fmt.Errorf("no record %s in the archive", quote(z.root+name))
	}
	b, err := z.payload(r)
	switch {
	case err != nil:
		return nil, err
	case r.size > uint64(limit):
		return nil, fmt.Errorf("record %s has %d bytes, more than the %d that are read", quote(r.name), r.size, limit)
	case r.method == deflated:
		return z.inflate(r, b)
	}
	return b, nil
}

// pickleLimit is how large the pickle may be. torch deflates no record; of one
// that is, no more is believed than a pickle's text can be worth, so that the
// memory follows the file and not what it claims.
func (z *archiveReader) pickleLimit(holds content) int {
	ratio := uint64(32)
	if holds == oneTensor { // a few hundred bytes, or numbers
		ratio = 2
	}
	if r := z.records["data.pkl"]; r.method == deflated {
		return int(min(maxPickle, 1<<20+ratio*min(r.csize, maxPickle)))
	}
	return maxPickle
}

// payload returns the bytes of a record as they lie in the file.
func (z *archiveReader) payload(r record) ([]byte, error) {
	h := r.header
	if h > uint64(z.end) || uint64(z.end)-h < 30 {
		return nil, fmt.Errorf("record %s: header at %d, after the records' end at %d", quote(r.name), h, z.end)
	}
	b := z.data[h:z.end]
	n, m := int(le.Uint16(b[26:])), int(le.Uint16(b[28:]))
	start := 30 + n + m
	switch {
	case string(b[:4]) != localSig:
		return nil, fmt.Errorf("record %s: no header at offset %d, want PK\\3\\4", quote(r.name), h)
	case start > len(b) || string(b[30:30+n]) != r.name:
		return nil, fmt.Errorf("record %s: the header at offset %d is of another record", quote(r.name), h)
	case le.Uint16(b[6:])&1 != 0 || le.Uint16(b[8:]) != r.method:
		return nil, fmt.Errorf("record %s: the header at offset %d contradicts the directory", quote(r.name), h)
	case r.csize > uint64(len(b)-start):
		return nil, fmt.Errorf("record %s: %d bytes at offset %d, after the records' end at %d", quote(r.name), r.csize, int(h)+start, z.end)
	}
	return b[start : start+int(r.csize) : start+int(r.csize)], nil
}

// inflate decompresses a record, which must have exactly the declared size and
// checksum (torch may leave the checksum 0).
func (z *archiveReader) inflate(r record, src []byte) ([]byte, error) {
	if r.size > math.MaxInt {
		return nil, fmt.Errorf("record %s: %d bytes", quote(r.name), r.size)
	}
	if err := z.copies.spend(int(r.size)); err != nil {
		return nil, fmt.Errorf("record %s: inflated, %w; store it without compression", quote(r.name), err)
	}
	in := bytes.NewReader(src)
	f := flate.NewReader(in)
	dst := make([]byte, r.size)
	if _, err := io.ReadFull(f, dst); err != nil {
		return nil, fmt.Errorf("record %s: inflating: %w", quote(r.name), err)
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || err != io.EOF || in.Len() != 0 {
		return nil, fmt.Errorf("record %s: the compressed data do not end after %d bytes, as declared", quote(r.name), r.size)
	}
	if sum := crc32.ChecksumIEEE(dst); r.crc != 0 && r.crc != sum {
		return nil, fmt.Errorf("record %s: checksum %08x, want %08x", quote(r.name), sum, r.crc)
	}
	return dst, nil
}
