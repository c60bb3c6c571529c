package kernel

import "unsafe"

// streamKernel adds the products of some rows of x, ldx bytes apart, and of two
// vectors' lengths of rows of B to s, panel by panel: a panel is a run of
// steps. The first is in the buffer cur; the others, and one for the call that
// follows, come from byte off of rows on. The two buffers take turns. What
// lies ahead bytes further is prefetched.
type streamKernel[F real] func(x *F, ldx int, cur, next *byte, rows *[32]*byte, off, panels, ahead int, s *F)

// stream is the kernels for one type of stored elements.
type stream[F real] struct {
	steps   int                      // of a panel
	kernels [FewRows]streamKernel[F] // by the rows of x, less one
}

// FewRows is the largest number of rows of a product that reads its
// weights where they lie: more repay packing them.
const FewRows = 4

// prefetched is how many bytes of a row memory is asked for ahead of the panel
// that is loaded: what takes it about as long to answer when all cores ask.
const prefetched = 512

// staging is the two buffers of a stream kernel and its rows of B: a panel has
// at most 512 bytes of a row.
type staging struct {
	buffers [2][32 * 512]byte
	rows    [32]*byte
}

// streamed computes c = a·b, or c += a·b, for an a of few rows where b has
// rows of a type with a kernel; it reports whether it has.
func (s *simd[F]) streamed(m, n, k int, a, b *matrix[F], c []F, ldc int, load bool) bool {
	st, ok := s.streams[b.source()]
	if !ok || m > FewRows || k < st.steps || b.values != nil && b.kMajor {
		return false
	}
	mem := s.get()
	defer s.put(mem)
	rows, ldx := 2*s.lanes, k+s.lanes // apart, so that rows of x do not displace each other
	panels := k / st.steps
	done := panels * st.steps
	rest := s.packFew(mem, a, m, k, ldx, done)

	size := int(unsafe.Sizeof(F(0)))
	_, es := b.bytes()
	panel := st.steps * es
	cur, next := &mem.staging.buffers[0][0], &mem.staging.buffers[1][0]
	run := func(first, panels, off, ahead int) {
		st.kernels[m-1](&mem.a[first*st.steps], ldx*size, cur, next, &mem.staging.rows, off, panels, ahead, &mem.tile[0])
		if panels%2 == 1 {
			cur, next = next, cur
		}
	}
	following := func(j int) { b.addresses(mem.staging.rows[:rows], j, min(rows, n-j), 0) }
	following(0)
	far := min(prefetched/panel, panels-1)
	run(0, 1, 0, panel) // for the buffer; the sums are of no use
	for j := 0; j < n; j += rows {
		cols := min(rows, n-j)
		for i := range m {
			if sums := mem.tile[i*rows:][:rows]; load {
				copy(sums, c[i*ldc+j:][:cols])
			} else {
				clear(sums)
			}
		}
		if here := panels - 1 - far; here > 0 {
			run(0, here, panel, far*panel)
		}
		if far > 0 { // ahead lie the next rows
			run(panels-1-far, far, done*es-far*panel, rows*b.ld*es-done*es+far*panel)
		}
		if j+rows < n {
			following(j + rows)
		}
		run(panels-1, 1, 0, far*panel)
		if done < k {
			s.pack.panel(&mem.packScratch, mem.b, b, j, cols, done, k-done, rows, 0)
			s.narrow[m](k-done, &mem.a[rest], &mem.b[0], rows*size, &mem.tile[0], rows*size, true)
		}
		for i := range m {
			copy(c[i*ldc+j:][:cols], mem.tile[i*rows:])
		}
	}
	return true
}

// packFew puts the rows of a, ldx elements apart, into mem.a. Steps from done
// on are there for an inner kernel at the element returned.
func (s *simd[F]) packFew(mem *scratch[F], a *matrix[F], m, k, ldx, done int) (rest int) {
	width := roundUp(m, s.lanes)
	mem.a = grow(mem.a, m*ldx+width*roundUp(k-done, maxUnit))
	for i := range m {
		a.load(mem.a[i*ldx:][:k], i, 0)
	}
	if m == 1 {
		return done
	}
	if done < k {
		s.pack.panel(&mem.packScratch, mem.a[m*ldx:], a, 0, m, done, k-done, width, 0)
	}
	return m * ldx
}
