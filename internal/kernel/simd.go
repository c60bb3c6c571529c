package kernel

import (
	"sync"
	"unsafe"
)

// simd is the kernels of one instruction set for products in F. The scheme is
// that of BLIS (Van Zee and van de Geijn, "BLIS: A Framework for Rapidly
// Instantiating BLAS Functionality", 2015): blocks of the operands are packed
// in the order in which an inner kernel reads them, and the inner kernel keeps
// a tile of C in registers while k runs. Between blocks of k the chains wait
// in C, so that no blocking changes a bit.
type simd[F real] struct {
	name  string
	lanes int // elements of a vector
	rows  int // of the largest tile
	blocking
	// narrow has the inner kernels by their rows, two vectors wide; wide those
	// for products of one to three rows.
	narrow  [maxRows + 1]tileKernel[F]
	wide    [len(wideVectors)]tileKernel[F]
	pack    packer[F]
	streams map[source]stream[F]    // for few rows, by what they read
	dots    map[source]dotKernel[F] // for one row, where no stream is
	pool    sync.Pool               // of *scratch[F]
}

// tileKernel computes a tile of C over k steps, from 0 or, if load is set,
// from what C holds. a is [k][rows padded to a vector] (a single row is not
// padded), b is [k] rows of the tile's width; ldb and ldc count bytes.
type tileKernel[F real] func(k int, a, b *F, ldb int, c *F, ldc int, load bool)

const maxRows = 14

// wideVectors is the width of a tile of few rows: enough chains to hide the
// latency of an addition.
var wideVectors = [...]int{1: 8, 2: 4, 3: 4}

// blocking is the sizes of packed blocks: of A, which stays in the second or
// third level of the cache, and of a panel of B, which passes through the first.
// Long panels read and write C less often.
type blocking struct {
	bytesA, bytesB int
	rowsA, stepsB  int // at most
}

var (
	shortPanels = blocking{bytesA: 1 << 20, bytesB: 64 << 10, rowsA: 512, stepsB: 512}
	longPanels  = blocking{bytesA: 2 << 20, bytesB: 128 << 10, rowsA: 256, stepsB: 2048}
)

const maxTile = maxRows * 32

// scratch is the memory of one running product.
type scratch[F real] struct {
	staging staging
	a, b    []F
	tile    [maxTile]F // a tile of which C has a part
	packScratch[F]
}

// product computes C = A·B, or C += A·B if load is set; a has m rows and b,
// transposed, n.
func (s *simd[F]) product(m, n, k int, a, b *matrix[F], c []F, ldc int, load bool) {
	if s.streamed(m, n, k, a, b, c, ldc, load) || m == 1 && s.vector(n, k, a, b, c, load) {
		return
	}
	mem := s.get()
	defer s.put(mem)
	size := int(unsafe.Sizeof(F(0)))
	blocks := parts(m, s.rowsA)
	for i := range blocks {
		lo, hi := i*m/blocks, (i+1)*m/blocks
		t := tiling{m: hi - lo, tiles: parts(hi-lo, s.rows), lanes: s.lanes}
		kb := max(s.bytesA/(size*t.tiles*t.padded((t.m+t.tiles-1)/t.tiles))/s.stepsB, 1) * s.stepsB
		for k0 := 0; k0 < k; k0 += kb {
			t.k0, t.k = k0, min(kb, k-k0)
			s.packA(mem, t, a, lo)
			s.multiply(mem, t, b, n, c[lo*ldc:], ldc, load || k0 > 0)
		}
	}
}

// tiling is a block of A: m rows in tiles as equal as can be, so that only a
// product of one row has a tile of one row, and steps k0 to k0+k-1.
type tiling struct {
	m, tiles, lanes int
	k0, k           int
}

// tile returns the rows of tile i and where it lies in the packed block.
func (t tiling) tile(i int) (lo, hi, at int) {
	most := (t.m + t.tiles - 1) / t.tiles
	return i * t.m / t.tiles, (i + 1) * t.m / t.tiles, i * t.padded(most) * roundUp(t.k, maxUnit)
}

// padded is the number of elements of a step of a packed tile.
func (t tiling) padded(rows int) int {
	if rows == 1 {
		return 1
	}
	return roundUp(rows, t.lanes)
}

// packA packs the tiles of rows i0, i0+1, … into mem.a.
func (s *simd[F]) packA(mem *scratch[F], t tiling, a *matrix[F], i0 int) {
	_, _, end := t.tile(t.tiles)
	mem.a = grow(mem.a, end)
	for i := range t.tiles {
		lo, hi, at := t.tile(i)
		if t.m == 1 {
			a.load(mem.a[:t.k], i0, t.k0)
			return
		}
		s.pack.panel(&mem.packScratch, mem.a[at:], a, i0+lo, hi-lo, t.k0, t.k, t.padded(hi-lo), 0)
	}
}

// multiply adds the products of the packed tiles with all columns to c.
func (s *simd[F]) multiply(mem *scratch[F], t tiling, b *matrix[F], n int, c []F, ldc int, load bool) {
	size := int(unsafe.Sizeof(F(0)))
	for j, width := 0, 0; j < n; j += width {
		kernels, vectors := s.narrow[:], 2
		if t.m < len(s.wide) && n-j > 2*s.lanes {
			kernels, vectors = s.wide[:], wideVectors[t.m]
		}
		width = vectors * s.lanes
		cols := min(width, n-j)
		steps := min(s.stepsB, s.bytesB/(size*width))
		direct := b.values != nil && b.kMajor && cols == width && t.tiles == 1
		for k := 0; k < t.k; k += steps {
			kc := min(steps, t.k-k)
			bp, ldb := &mem.b[0], width*size
			if direct {
				bp, ldb = &b.values[(t.k0+k)*b.ld+j], b.ld*size
			} else {
				s.pack.panel(&mem.packScratch, mem.b, b, j, cols, t.k0+k, kc, width, b.ahead(k, kc, t.k, width))
			}
			for i := range t.tiles {
				lo, hi, at := t.tile(i)
				ap, tile := &mem.a[at+k*t.padded(hi-lo)], c[lo*ldc+j:]
				if cols == width {
					kernels[hi-lo](kc, ap, bp, ldb, &tile[0], ldc*size, load || k > 0)
				} else {
					s.edge(mem, kernels[hi-lo], kc, ap, bp, ldb, tile, ldc, hi-lo, cols, width, load || k > 0)
				}
			}
		}
	}
}

// edge computes a tile of which C has the first cols columns only.
func (s *simd[F]) edge(mem *scratch[F], kernel tileKernel[F], k int, a, b *F, ldb int, c []F, ldc, rows, cols, width int, load bool) {
	if load {
		for r := range rows {
			copy(mem.tile[r*width:][:cols], c[r*ldc:])
		}
	}
	kernel(k, a, b, ldb, &mem.tile[0], width*int(unsafe.Sizeof(*a)), load)
	for r := range rows {
		copy(c[r*ldc:][:cols], mem.tile[r*width:])
	}
}

func (s *simd[F]) get() *scratch[F] {
	if mem, ok := s.pool.Get().(*scratch[F]); ok {
		return mem
	}
	return &scratch[F]{b: make([]F, (s.bytesB+panelSlack)/int(unsafe.Sizeof(F(0))))}
}

func (s *simd[F]) put(mem *scratch[F]) {
	clear(mem.rows[:]) // holds nothing of the caller's
	clear(mem.staging.rows[:])
	s.pool.Put(mem)
}

// parts returns the fewest parts of n of at most most each.
func parts(n, most int) int { return (n + most - 1) / most }

func roundUp(n, to int) int { return (n + to - 1) / to * to }

func grow[F real](v []F, n int) []F {
	if n > len(v) {
		return make([]F, n)
	}
	return v
}
