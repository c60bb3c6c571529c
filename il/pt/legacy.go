package pt

import (
	"math/big"

	"github.com/nlpodyssey/gopickle/types"
)

// The legacy format, written before torch 1.6 and with
// _use_new_zipfile_serialization=False: five pickles (magic number, protocol
// version, system, object, keys), then for every key the count of elements and
// the elements, little-endian.

var legacyMagic, _ = new(big.Int).SetString("1950a86a20f9469cfc6c", 16)

const (
	legacyProtocol = 1001
	legacyRecord   = "legacy file" // its one part, in errors
)

// isLegacy reports whether the first pickle is the magic number.
func isLegacy(data []byte) bool {
	p, err := verify(legacyRecord, data[:min(len(data), 64)], 0, true, newBudget(1<<20))
	if err != nil {
		return false
	}
	v, err := new(loader).run(p)
	n, ok := v.(*big.Int)
	return err == nil && ok && n.Cmp(legacyMagic) == 0
}

// loadLegacy reads the file and returns its object.
func loadLegacy(data []byte, l *loader) (any, error) {
	pos := 0
	next := func(plain bool) (any, error) {
		p, err := verify(legacyRecord, data[pos:], pos, plain, l.memory)
		if err != nil {
			return nil, err
		}
		pos += len(p.pickle)
		return l.run(p)
	}
	if _, err := next(true); err != nil {
		return nil, err
	}
	at := pos
	switch v, err := next(true); {
	case err != nil:
		return nil, err
	case v != legacyProtocol:
		return nil, faultf(legacyRecord, at, "protocol version %s, want %d", show(v), legacyProtocol)
	}
	if _, err := next(true); err != nil { // the writer's system: the elements are little-endian whatever it says
		return nil, err
	}
	root, err := next(false)
	if err != nil {
		return nil, err
	}
	at = pos
	v, err := next(true)
	if err != nil {
		return nil, err
	}
	keys, ok := v.(*types.List)
	if !ok {
		return nil, faultf(legacyRecord, at, "the keys of the storages are %s, want a list", show(v))
	}
	return root, l.legacyStorages(data, pos, *keys)
}

// legacyStorages finds the elements of the storages, in the order of the keys.
func (l *loader) legacyStorages(data []byte, pos int, keys []any) error {
	found := make(map[string]bool, min(len(keys), 1<<16))
	for _, k := range keys {
		key, _ := k.(string)
		s, ok := l.storages[key]
		switch {
		case !ok || found[key]:
			return faultf(legacyRecord, pos, "the list of keys has %s, which is no storage of a tensor, or twice", show(k))
		case len(data)-pos < 8:
			return faultf(legacyRecord, pos, "the file is cut short before storage %s", key)
		}
		found[key] = true
		if n := le.Uint64(data[pos:]); n != uint64(s.numel) {
			return faultf(legacyRecord, pos, "storage %s has %d elements, want %d", key, int64(n), s.numel)
		}
		pos += 8
		if s.nbytes > len(data)-pos {
			return faultf(legacyRecord, pos, "storage %s: %d bytes are left, want %d for %d elements of %s",
				key, len(data)-pos, s.nbytes, s.numel, s.class.dtype)
		}
		s.data = data[pos : pos+s.nbytes : pos+s.nbytes]
		pos += s.nbytes
	}
	if len(found) != len(l.storages) {
		for key := range l.storages {
			if !found[key] {
				return faultf(legacyRecord, pos, "no elements for storage %s", key)
			}
		}
	}
	return nil
}
