package kernel

import "unsafe"

// dotKernel adds the products of x and rows, two vectors' lengths of them, to
// s; a block is blockBytes of every row, the first at byte off. What
// lies ahead bytes further is prefetched.
type dotKernel[F real] func(x *F, rows *[32]*byte, off, blocks, ahead int, s *F)

// bytesAhead is how far the memory's answer is asked for, in bytes of a row.
const bytesAhead = 512

// vector computes c = a·b, or c += a·b, for an a of one row where b has rows
// of a type with a kernel; it reports whether it has.
func (s *simd[F]) vector(n, k int, a, b *matrix[F], c []F, load bool) bool {
	kernel := s.dots[b.source()]
	if kernel == nil || b.values != nil && b.kMajor {
		return false
	}
	mem := s.get()
	defer s.put(mem)
	mem.a = grow(mem.a, k)
	a.load(mem.a[:k], 0, 0)
	rows := 2 * s.lanes
	_, es := b.bytes()
	unit := blockBytes / es
	whole := k / unit
	near := min(bytesAhead/blockBytes, whole)
	far := whole - near
	sums := mem.tile[:rows]
	for j := 0; j < n; j += rows {
		cols := min(rows, n-j)
		if clear(sums); load {
			copy(sums, c[j:][:cols])
		}
		b.addresses(mem.rows[:rows], j, cols, 0)
		if far > 0 {
			kernel(&mem.a[0], &mem.rows, 0, far, near*blockBytes, &sums[0])
		}
		if near > 0 { // ahead lie the next rows
			kernel(&mem.a[far*unit], &mem.rows, far*blockBytes, near, rows*b.ld*es-far*blockBytes, &sums[0])
		}
		if done := whole * unit; done < k {
			s.pack.panel(&mem.packScratch, mem.b, b, j, cols, done, k-done, rows, 0)
			s.narrow[1](k-done, &mem.a[done], &mem.b[0], rows*int(unsafe.Sizeof(c[0])), &sums[0], 0, true)
		}
		copy(c[j:][:cols], sums)
	}
	return true
}
