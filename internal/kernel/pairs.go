package kernel

import (
	"math"
	"unsafe"

	"github.com/ilref/ilref/tensor"
)

// Pairs measures pairs of values (r, t) with d = t - r. Sums are in float64. The
// rest is in float64 too, but in float32 for two half types, which a float32
// holds the difference of to 2^-24 of its size: |d|, its tolerance and its
// distance in last places. Results are those of the last call of Values or
// Stored; Count adds up until Reset. Every sum is four chains of fused
// multiply-adds, of the elements i%4, then a tree, so that assembly and plain
// Go give the same bits. Where a value is not finite, or |d| as a float32, so is
// the sum of |d| or Max, and the other results mean nothing.
type Pairs struct {
	vectors pairVectors
	types   [2]tensor.DType
	single  bool       // compares in float32
	kernel  pairKernel // of types, where there is one
	buf     [2][pairChunk]float64

	atol, rtol, least, maxRel, place float64
	unit                             float64 // what largest units are multiplied by
	lowest                           int     // bucket
}

const (
	pairLanes = 4   // of a sum
	pairStep  = 16  // assembly takes multiples
	pairChunk = 256 // values that are decoded at once where there is no assembly
	// PairBuckets counts distances in units of the last place: bucket i holds
	// those whose exponent and first three bits of fraction are
	// PairFirstBucket+i, the first one also all below; no format has any above.
	PairBuckets     = 512
	PairStepBits    = 3
	PairFirstBucket = (1023 - 1) << PairStepBits // the top of a float64 of 1/2
)

// pairVectors is shared with the assembly: avo/pairs.go has its fields. The
// first ones are four of float64 or eight of float32.
type pairVectors struct {
	absolute64, absolute, exponent   pairVector // masks
	atol, rtol, least, maxRel, place pairVector
	lowest, unused                   [8]int32           // buckets: the first, and one above all, by their bits
	dd, rr, tt, rd, sum              [pairLanes]float64 // Σ d², r², t², r d, |d|
	max                              [pairLanes]float64 // the largest |d|
	excess                           [pairLanes]uint64  // the sign bit where |d| > maxRel*max(|r|, least)
	units                            [pairLanes]float64 // the largest |d| / last place
	equal, mismatched                [pairLanes]int64
	_                                [256]byte                  // buckets to be counted
	count                            [16][PairBuckets + 8]int64 // not a multiple of a page: lanes would meet in the cache
}

// pairVector is a vector that holds one number again and again.
type pairVector [pairLanes]uint64

const twice = 1<<32 + 1 // times 32 bits

func (v *pairVector) fill(bits uint64) { *v = pairVector{bits, bits, bits, bits} }

// set fills v with x, as a float32 where single is set.
func (v *pairVector) set(x float64, single bool) {
	if single {
		v.fill(uint64(math.Float32bits(float32(x))) * twice)
	} else {
		v.fill(math.Float64bits(x))
	}
}

const signBit = 1 << 63

// pairKernel measures n pairs, a multiple of pairStep; s is the start of a pairVectors.
// sums also adds d² to dd and r² to rr.
type pairKernel struct {
	sums      func(r, t *byte, n int, dd, rr *float64, s *uint64)
	distances func(r, t *byte, n int, s *uint64)
}

// pairKernels is the assembly that this CPU can run, by the stored types.
var pairKernels map[[2]tensor.DType]pairKernel

// PairTypes are the types of values that Stored reads.
var PairTypes = []tensor.DType{tensor.BFloat16, tensor.Float16, tensor.Float32, tensor.Float64}

// Prepare sets out, before Reset, to measure values of two of PairTypes, those
// of Values being float64, and to count values with |d| > atol + rtol*|r| and
// distances in units of the last place of a format of the given precision, the
// hidden bit counted, whose last place does not change below 2^lowest. least is
// the least |r| that a difference is divided by.
func (p *Pairs) Prepare(r, t tensor.DType, atol, rtol, least float64, precision, lowest int) {
	p.types, p.single = [2]tensor.DType{r, t}, r.Size() == 2 && t.Size() == 2
	p.kernel = pairKernels[p.types]
	p.atol, p.rtol, p.least, p.place = atol, rtol, p.below(least), math.Ldexp(1, lowest)
	p.unit, p.lowest = math.Ldexp(1, precision-2), PairFirstBucket-(precision-2)<<PairStepBits
	v := &p.vectors
	v.absolute64.fill(signBit - 1)
	if v.absolute.fill(signBit - 1); p.single {
		v.absolute.fill((1<<31 - 1) * twice)
	}
	v.exponent.set(math.Inf(1), p.single)
	v.atol.set(atol, p.single)
	v.rtol.set(rtol, p.single)
	v.least.set(p.least, p.single)
	v.place.set(p.place, p.single)
	first := p.lowest
	if p.single {
		first -= (1023 - 127) << PairStepBits
	}
	for i := range v.lowest {
		v.lowest[i], v.unused[i] = int32(first), int32(first+PairBuckets)
	}
}

// Single reports whether |d| is rounded to float32.
func (p *Pairs) Single() bool { return p.single }

// below is x, or the float32 at or next below it.
func (p *Pairs) below(x float64) float64 {
	if !p.single {
		return x
	}
	f := float32(x)
	if float64(f) > x {
		f = math.Nextafter32(f, 0)
	}
	return float64(f)
}

// Reset forgets the counts and sets the relative difference that Exceeds
// refers to to 0.
func (p *Pairs) Reset() {
	p.vectors.count = [16][PairBuckets + 8]int64{}
	p.SetMaxRel(0)
}

// SetMaxRel sets the relative difference that Exceeds refers to.
func (p *Pairs) SetMaxRel(v float64) {
	p.maxRel = p.below(v)
	p.vectors.maxRel.set(p.maxRel, p.single)
}

// Values measures two slices of one length, and adds d² to dd and r² to rr,
// element by element.
func (p *Pairs) Values(r, t, dd, rr []float64) {
	t, dd, rr = t[:len(r)], dd[:len(r)], rr[:len(r)]
	n := p.assembly(unsafe.Pointer(unsafe.SliceData(r)), unsafe.Pointer(unsafe.SliceData(t)), dd, rr)
	p.measure(r[n:], t[n:], dd[n:], rr[n:])
}

// Stored is Values for little-endian bytes.
func (p *Pairs) Stored(r, t []byte, dd, rr []float64) {
	rs, ts := p.types[0].Size(), p.types[1].Size()
	r, t, rr = r[:len(dd)*rs], t[:len(dd)*ts], rr[:len(dd)]
	n := p.assembly(unsafe.Pointer(unsafe.SliceData(r)), unsafe.Pointer(unsafe.SliceData(t)), dd, rr)
	for n < len(dd) {
		end := min(n+pairChunk, len(dd))
		a, b := p.buf[0][:end-n], p.buf[1][:end-n]
		tensor.LoadFloat64(a, p.types[0], r[n*rs:end*rs])
		tensor.LoadFloat64(b, p.types[1], t[n*ts:end*ts])
		p.measure(a, b, dd[n:end], rr[n:end])
		n = end
	}
}

// assembly begins a call, and returns how many pairs are measured by now.
func (p *Pairs) assembly(r, t unsafe.Pointer, dd, rr []float64) (n int) {
	p.clear()
	if n = len(dd) / pairStep * pairStep; p.kernel.sums == nil || n == 0 {
		return 0
	}
	s := &p.vectors.absolute64[0]
	p.kernel.sums((*byte)(r), (*byte)(t), n, &dd[0], &rr[0], s)
	p.kernel.distances((*byte)(r), (*byte)(t), n, s)
	return n
}

func (p *Pairs) clear() {
	v := &p.vectors
	v.dd, v.rr, v.tt, v.rd, v.sum = [4]float64{}, [4]float64{}, [4]float64{}, [4]float64{}, [4]float64{}
	v.max, v.excess, v.units = [4]float64{}, [4]uint64{}, [4]float64{}
	v.equal, v.mismatched = [4]int64{}, [4]int64{}
}

// measure is the assembly in plain Go, which also goes on where it ends.
func (p *Pairs) measure(r, t, dd, rr []float64) {
	t, dd, rr = t[:len(r)], dd[:len(r)], rr[:len(r)]
	for l := range min(pairLanes, len(r)) {
		p.vectors.sums(l, r, t, dd, rr)
		if p.single {
			comparePairs[float32](p, l, r, t)
		} else {
			comparePairs[float64](p, l, r, t)
		}
	}
}

// sums adds every fourth pair from l on to the sums.
func (v *pairVectors) sums(l int, r, t, dd, rr []float64) {
	sdd, srr, stt, srd, sum := v.dd[l], v.rr[l], v.tt[l], v.rd[l], v.sum[l]
	for i := l; i < len(r); i += pairLanes {
		a, b := r[i], t[i]
		d := b - a
		sdd, dd[i] = math.FMA(d, d, sdd), math.FMA(d, d, dd[i])
		srr, rr[i] = math.FMA(a, a, srr), math.FMA(a, a, rr[i])
		stt, srd = math.FMA(b, b, stt), math.FMA(a, d, srd)
		sum += math.Abs(d)
	}
	v.dd[l], v.rr[l], v.tt[l], v.rd[l], v.sum[l] = sdd, srr, stt, srd, sum
}

// comparePairs finds what is not a sum of every fourth pair from l on, in T.
// Sizes are compared by their bits, which for values that are not negative order
// as the values do.
func comparePairs[T float32 | float64](p *Pairs, l int, r, t []float64) {
	v := &p.vectors
	atol, rtol, maxRel, least := T(p.atol), T(p.rtol), p.maxRel, p.least
	place := math.Float64bits(p.place)
	most, units := math.Float64bits(v.max[l]), math.Float64bits(v.units[l])
	equal, mismatched, excess := 0, 0, v.excess[l]
	for i := l; i < len(r); i += pairLanes {
		a, b := math.Abs(r[i]), math.Abs(t[i])
		d := math.Abs(float64(T(t[i]) - T(r[i])))
		most = max(most, math.Float64bits(d))

		// The last place is that of the larger value; its exponent is inverted.
		size := max(math.Float64bits(a), math.Float64bits(b), place)
		u := math.Float64bits(float64(T(d) * T(math.Float64frombits(^size&(0x7ff<<52)))))
		units = max(units, u)
		v.count[l][min(max(int(u>>(52-PairStepBits))-p.lowest, 0), PairBuckets)]++

		same, outside := 0, 0 // no branches: nobody could predict them
		if d == 0 {
			same = 1
		}
		if T(d) > atol+T(rtol*T(a)) {
			outside = 1
		}
		equal += same
		mismatched += outside
		excess |= math.Float64bits(math.FMA(maxRel, max(a, least), -d))
	}
	v.max[l], v.units[l] = math.Float64frombits(most), math.Float64frombits(units)
	v.equal[l] += int64(equal)
	v.mismatched[l] += int64(mismatched)
	v.excess[l] = excess
}

// sumLanes adds the lanes as a tree.
func sumLanes(v *[pairLanes]float64) float64 { return (v[0] + v[2]) + (v[1] + v[3]) }

func maxLanes(v *[pairLanes]float64) float64 { return max(v[0], v[1], v[2], v[3]) }

func countLanes(v *[pairLanes]int64) int { return int(v[0] + v[1] + v[2] + v[3]) }

// Sums returns Σ d², Σ r², Σ t², Σ r d and Σ |d|.
func (p *Pairs) Sums() (dd, rr, tt, rd, abs float64) {
	v := &p.vectors
	return sumLanes(&v.dd), sumLanes(&v.rr), sumLanes(&v.tt), sumLanes(&v.rd), sumLanes(&v.sum)
}

// Max returns the largest |d|, and Units that in units of the last place.
func (p *Pairs) Max() float64 { return maxLanes(&p.vectors.max) }

// Units returns the largest |d| in units of the last place.
func (p *Pairs) Units() float64 { return maxLanes(&p.vectors.units) * p.unit }

// Exceeds reports whether the relative difference of any pair is above that of
// SetMaxRel.
func (p *Pairs) Exceeds() bool {
	e := &p.vectors.excess
	return (e[0]|e[1]|e[2]|e[3])&signBit != 0
}

// Equal returns how many values are equal, Mismatched how many are outside the
// tolerance.
func (p *Pairs) Equal() int { return countLanes(&p.vectors.equal) }

// Mismatched returns how many values are outside the tolerance.
func (p *Pairs) Mismatched() int { return countLanes(&p.vectors.mismatched) }

// Count returns bucket i of the distances since Reset, equal values included.
func (p *Pairs) Count(i int) int {
	n := int64(0)
	for l := range p.vectors.count {
		n += p.vectors.count[l][i]
	}
	return int(n)
}
