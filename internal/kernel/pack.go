package kernel

import "unsafe"

// packer writes panels of a matrix in the order in which an inner kernel reads
// them.
type packer[F real] struct {
	bytes   int // of a vector
	exact   packKernel
	convert map[source]packKernel // to float32
	widen64 func(dst *float64, src *float32, n int)
}

// packKernel transposes rows, as many as a vector has elements, into
// [k][stride bytes]. A block is blockBytes of every row, the first at byte
// off; what lies ahead bytes further is prefetched.
type packKernel func(dst *byte, stride int, rows *[32]*byte, off, blocks, ahead int)

// blockBytes is what a kernel reads of a row at once.
const blockBytes = 64

// maxUnit is the largest number of steps that a pack kernel writes at once: a
// panel is written in whole units. panelSlack is what that takes, in bytes, at
// the end of the widest panel.
const (
	maxUnit    = blockBytes
	panelSlack = maxUnit * 8 * 64
)

// packScratch is the memory that packing needs.
type packScratch[F real] struct {
	rows  [32]*byte            // arguments of a kernel
	tail  [16][blockBytes]byte // the ends of the rows, padded
	wide  []float32            // a panel on its way to float64
	plain []F                  // rows of a type that no kernel reads, decoded
}

// panel writes steps k0 to k0+k-1 of rows r0 to r0+rows-1 into dst
// [k][width], width a multiple of the vector's length. What it writes beyond
// the rows and steps asked for is not to be used. ahead is the distance in
// bytes of what the caller will want next, 0 for nothing.
func (p *packer[F]) panel(mem *packScratch[F], dst []F, x *matrix[F], r0, rows, k0, k, width, ahead int) {
	if x.values != nil && x.kMajor {
		for i := range k {
			copy(dst[i*width:][:rows], x.values[(k0+i)*x.ld+r0:])
		}
		return
	}
	src := x.source()
	if x.values != nil || src == (source{stored: dtypeOf[F]()}) {
		p.transpose(mem, p.exact, unsafe.Pointer(&dst[0]), int(unsafe.Sizeof(F(0))), x, r0, rows, k0, k, width, ahead)
		return
	}
	kernel, ok := p.convert[src]
	switch {
	case !ok:
		p.decoded(mem, dst, x, r0, rows, k0, k, width)
	case p.widen64 == nil:
		p.transpose(mem, kernel, unsafe.Pointer(&dst[0]), 4, x, r0, rows, k0, k, width, ahead)
	default:
		n := roundUp(k, maxUnit) * width
		mem.wide = grow(mem.wide, n)
		p.transpose(mem, kernel, unsafe.Pointer(&mem.wide[0]), 4, x, r0, rows, k0, k, width, ahead)
		p.widen64((*float64)(unsafe.Pointer(&dst[0])), &mem.wide[0], n)
	}
}

// transpose runs a kernel that writes elements of size bytes over the groups
// of rows of a panel.
func (p *packer[F]) transpose(mem *packScratch[F], kernel packKernel, dst unsafe.Pointer, size int, x *matrix[F], r0, rows, k0, k, width, ahead int) {
	_, es := x.bytes()
	lanes, unit := p.bytes/size, blockBytes/es
	stride := width * size
	for g := 0; g < rows; g += lanes {
		x.addresses(mem.rows[:lanes], r0+g, min(lanes, rows-g), k0)
		at := unsafe.Add(dst, g*size)
		whole := k / unit
		if whole > 0 {
			kernel((*byte)(at), stride, &mem.rows, 0, whole, ahead)
		}
		if rest := k - whole*unit; rest > 0 {
			for i := range lanes {
				end := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(mem.rows[i]), whole*blockBytes)), rest*es)
				copy(mem.tail[i][:], end)
				mem.rows[i] = &mem.tail[i][0]
			}
			kernel((*byte)(unsafe.Add(at, whole*unit*stride)), stride, &mem.rows, 0, 1, 0)
		}
	}
}

// decoded packs rows of a type without a kernel of its own.
func (p *packer[F]) decoded(mem *packScratch[F], dst []F, x *matrix[F], r0, rows, k0, k, width int) {
	lanes := p.bytes / int(unsafe.Sizeof(F(0)))
	mem.plain = grow(mem.plain, lanes*k)
	values := mem.plain[:lanes*k]
	for g := 0; g < rows; g += lanes {
		n := min(lanes, rows-g)
		for i := range n {
			x.load(values[i*k:][:k], r0+g+i, k0)
		}
		p.panel(mem, dst[g:], &matrix[F]{values: values, ld: k}, 0, n, 0, k, width, 0)
	}
}

// bytes returns the address of the first stored element and the elements' size.
func (x *matrix[F]) bytes() (base unsafe.Pointer, size int) {
	if x.values != nil {
		return unsafe.Pointer(unsafe.SliceData(x.values)), int(unsafe.Sizeof(F(0)))
	}
	return unsafe.Pointer(unsafe.SliceData(x.weights.Data)), x.weights.DType.Size()
}

// addresses puts the addresses of element k of rows r0, r0+1, … into p; beyond
// the rows given it repeats the last, for a kernel to read but not to use.
func (x *matrix[F]) addresses(p []*byte, r0, rows, k int) {
	base, es := x.bytes()
	for i := range p {
		p[i] = (*byte)(unsafe.Add(base, ((r0+min(i, rows-1))*x.ld+k)*es))
	}
}

// ahead returns how many bytes after steps k to k+kc-1 of some rows, of a block
// of all steps, the part that follows lies: later steps, or else other rows.
func (x *matrix[F]) ahead(k, kc, all, rows int) int {
	_, es := x.bytes()
	if k+kc < all {
		return kc * es
	}
	return (rows*x.ld - k) * es
}
