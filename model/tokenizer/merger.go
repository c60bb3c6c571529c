package tokenizer

// merger merges the symbols of one word: of all neighbours that can merge,
// those of the lowest rank first, and among equals the leftmost. Symbols are a
// linked list, candidates a heap, so a word of n characters takes O(n log n)
// (SentencePiece-style tokenizers make one word of a whole text). As in
// tokenizers 0.23 (src/models/bpe/word.rs) a candidate is stale unless the pair
// that stands at its place now merges to the same token.
type merger struct {
	syms []symbol
	heap []candidate
	out  []int32
}

type symbol struct {
	id         int32 // noID once merged into its left neighbour
	prev, next int32 // -1 at the ends
}

type candidate struct {
	key uint64 // rank, then position
	id  int32  // of the merged token
}

func (m *merger) reset() { m.syms = m.syms[:0] }

func (m *merger) add(id int32) {
	n := int32(len(m.syms))
	if n > 0 {
		m.syms[n-1].next = n
	}
	m.syms = append(m.syms, symbol{id, n - 1, -1})
}

func (m *merger) run(merges map[uint64]merge) {
	if len(m.syms) < 2 {
		return
	}
	m.heap = m.heap[:0]
	for i := range len(m.syms) - 1 {
		m.consider(merges, int32(i))
	}
	for len(m.heap) > 0 {
		c := m.pop()
		pos := int32(uint32(c.key))
		left := &m.syms[pos]
		if left.id == noID || left.next < 0 {
			continue
		}
		right := &m.syms[left.next]
		if now, ok := merges[pair(left.id, right.id)]; !ok || now.id != c.id {
			continue
		}
		left.id, right.id = c.id, noID
		left.next = right.next
		if left.next >= 0 {
			m.syms[left.next].prev = pos
			m.consider(merges, pos)
		}
		if left.prev >= 0 {
			m.consider(merges, left.prev)
		}
	}
}

// consider adds the pair that begins at a symbol to the candidates.
func (m *merger) consider(merges map[uint64]merge, pos int32) {
	left := m.syms[pos]
	if mg, ok := merges[pair(left.id, m.syms[left.next].id)]; ok {
		m.push(candidate{uint64(mg.rank)<<32 | uint64(uint32(pos)), mg.id})
	}
}

// ids returns the symbols that are left.
func (m *merger) ids() []int32 {
	m.out = m.out[:0]
	for _, s := range m.syms {
		if s.id != noID {
			m.out = append(m.out, s.id)
		}
	}
	return m.out
}

func (m *merger) push(c candidate) {
	h := append(m.heap, c)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if h[up].key <= c.key {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = c
	m.heap = h
}

func (m *merger) pop() candidate {
	h := m.heap
	top, c := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	m.heap = h
	i := 0
	for {
		down := 2*i + 1
		if down >= len(h) {
			break
		}
		if down+1 < len(h) && h[down+1].key < h[down].key {
			down++
		}
		if c.key <= h[down].key {
			break
		}
		h[i] = h[down]
		i = down
	}
	if len(h) > 0 {
		h[i] = c
	}
	return top
}
