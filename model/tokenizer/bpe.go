package tokenizer

import (
	"fmt"
	"sync"
	"unicode/utf8"
)

// bpe is the byte-pair encoding model (tokenizers 0.23, src/models/bpe).
type bpe struct {
	vocab  map[string]uint32
	tokens []string         // by id; "" where known is false
	known  []bool           // ids may have gaps
	merges map[uint64]merge // by pair of ids

	unk          int32 // id of the unknown token; noID for none
	fuseUnk      bool
	byteFallback *[256]int32 // ids of <0x00> … <0xFF>, noID where missing; nil for none
	ignoreMerges bool        // a word of the vocabulary is one token whatever the merges say

	mu    sync.Mutex
	cache map[string][]int32 // ids of words
	work  merger
}

type merge struct {
	rank uint32 // lower merges first
	id   int32  // of the merged token
}

func pair(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

const (
	maxID     = 1 << 24 // a bound for the table of tokens
	cacheSize = 10_000  // words
	cacheWord = 256     // bytes of a word that is kept
)

func newBPE(vocab map[string]uint32) (*bpe, error) {
	m := &bpe{vocab: vocab, merges: map[uint64]merge{}, unk: noID, cache: map[string][]int32{}}
	size := 0
	for token, id := range vocab {
		if id >= maxID {
			return nil, fmt.Errorf("token %q has id %d, expected ids below %d", token, id, maxID)
		}
		size = max(size, int(id)+1)
	}
	m.tokens, m.known = make([]string, size), make([]bool, size)
	for token, id := range vocab {
		if m.known[id] {
			return nil, fmt.Errorf("tokens %q and %q have the same id %d", min(token, m.tokens[id]), max(token, m.tokens[id]), id)
		}
		m.tokens[id], m.known[id] = token, true
	}
	return m, nil
}

// addMerge says that a and b, in this order, merge into a+b. The last of equal
// pairs counts.
func (m *bpe) addMerge(a, b string, rank int) error {
	ids := [3]int32{}
	for i, token := range []string{a, b, a + b} {
		id, ok := m.vocab[token]
		if !ok {
			return fmt.Errorf("merge %d of %q and %q: %q is not in the vocabulary", rank, a, b, token)
		}
		ids[i] = int32(id)
	}
	m.merges[pair(ids[0], ids[1])] = merge{uint32(rank), ids[2]}
	return nil
}

// setByteFallback finds the tokens that stand for bytes.
func (m *bpe) setByteFallback() {
	m.byteFallback = new([256]int32)
	for b := range m.byteFallback {
		m.byteFallback[b] = noID
		if id, ok := m.vocab[fmt.Sprintf("<0x%02X>", b)]; ok {
			m.byteFallback[b] = int32(id)
		}
	}
}

func (m *bpe) token(id int) (string, bool) {
	if id < 0 || id >= len(m.tokens) {
		return "", false
	}
	return m.tokens[id], m.known[id]
}

// encode appends the ids of all pieces.
func (m *bpe) encode(ids []int, pieces []piece) []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range pieces {
		if p.id != noID {
			ids = append(ids, int(p.id))
			continue
		}
		for _, id := range m.word(p.text) {
			ids = append(ids, int(id))
		}
	}
	return ids
}

// word returns the ids of one word; the slice is valid until the next call.
func (m *bpe) word(w string) []int32 {
	if ids, ok := m.cache[w]; ok {
		return ids
	}
	m.work.reset()
	if id, ok := m.vocab[w]; ok && m.ignoreMerges {
		m.work.add(int32(id))
	} else {
		m.symbols(w)
		m.work.run(m.merges)
	}
	ids := m.work.ids()
	if len(w) < cacheWord && len(m.cache) < cacheSize {
		kept := append([]int32(nil), ids...)
		m.cache[w] = kept
		return kept
	}
	return ids
}

// symbols splits a word into characters. A character without a token becomes
// its bytes or the unknown token.
func (m *bpe) symbols(w string) {
	pending := false // an unknown token that is not yet added
	for i, r := range w {
		c := w[i : i+utf8.RuneLen(r)]
		if id, ok := m.vocab[c]; ok {
			if pending {
				m.work.add(m.unk)
				pending = false
			}
			m.work.add(int32(id))
			continue
		}
		if m.addBytes(c) || m.unk == noID {
			continue // as the reference does: without any token the character is lost
		}
		if pending && !m.fuseUnk {
			m.work.add(m.unk)
		}
		pending = true
	}
	if pending {
		m.work.add(m.unk)
	}
}

// addBytes adds the byte tokens of a character if there is one for each byte.
func (m *bpe) addBytes(c string) bool {
	if m.byteFallback == nil {
		return false
	}
	for i := range len(c) {
		if m.byteFallback[c[i]] == noID {
			return false
		}
	}
	for i := range len(c) {
		m.work.add(m.byteFallback[c[i]])
	}
	return true
}
