package kernel

import (
	"math"
	"unsafe"

	"github.com/ilref/ilref/tensor"
)

// Pairs measures pairs of values (r, t), all in float64 whatever the stored
// types, with d = t - r. Results are those of the last call of Values or
// Stored; Count adds up until Reset. Every sum is four chains of fused
// multiply-adds, of the elements i%4, then a tree, so that assembly and plain
// Go give the same bits. Where a value is not finite, so is Abs, and the other
// results mean nothing.
type Pairs struct {
	vectors pairVectors
	unit    float64 // what largest units are multiplied by
	types   [2]tensor.DType
	stored  pairKernel // of types
	rest    [2][pairStep]float64
}

const (
	pairLanes = 4 // of a sum
	pairStep  = 8 // pairs that assembly takes at once
	// PairBuckets counts distances in units of the last place: bucket i holds
	// those whose exponent and first three bits of fraction are
	// PairFirstBucket+i, the first one also all below, the last all above.
	PairBuckets     = 512
	PairStepBits    = 3
	PairFirstBucket = (1023 - 1) << PairStepBits // the top of a float64 of 1/2
)

// pairVectors is shared with the assembly: avo/pairs.go has its fields.
type pairVectors struct {
	absolute, exponent               [pairLanes]uint64 // masks
	atol, rtol, least, maxRel, place [pairLanes]float64
	lowest                           [2 * pairLanes]int32 // bucket
	largest                          [pairLanes]float64   // finite number
	dd, rr, tt, rd, sum              [pairLanes]float64   // Σ d², r², t², r d, |d|
	max                              [pairLanes]float64   // the largest |d|
	excess                           [pairLanes]uint64    // the sign bit where |d| > maxRel*max(|r|, least)
	units                            [pairLanes]float64   // the largest |d| / last place
	equal, mismatched                [pairLanes]int64
	_                                [512]uint64                      // buckets of a block, for the assembly
	count                            [pairStep][PairBuckets + 8]int64 // not a multiple of a page: lanes would meet in the cache
}

const signBit = 1 << 63

// pairKernel measures n pairs, a multiple of 8, and adds d² to dd and r² to rr;
// s is the start of a pairVectors.
type pairKernel func(r, t *byte, n int, dd, rr *float64, s *uint64)

var float64s = [2]tensor.DType{tensor.Float64, tensor.Float64}

// pairKernels is the assembly that this CPU can run, by the stored types.
var pairKernels map[[2]tensor.DType]pairKernel

// Prepare sets out, before Reset, to count values with
// |d| > atol + rtol*|r| and distances in units of the last place of a format of
// the given precision, the hidden bit counted, whose last place does not change
// below 2^lowest. least is the least |r| that a difference is divided by.
func (p *Pairs) Prepare(atol, rtol, least float64, precision, lowest int) {
	p.unit = math.Ldexp(1, precision-2)
	for i := range pairLanes {
		p.vectors.absolute[i] = 1<<63 - 1
		p.vectors.exponent[i] = 0x7ff << 52
		p.vectors.atol[i], p.vectors.rtol[i], p.vectors.least[i] = atol, rtol, least
		p.vectors.place[i], p.vectors.largest[i] = math.Ldexp(1, lowest), math.MaxFloat64
	}
	for i := range p.vectors.lowest {
		p.vectors.lowest[i] = int32(PairFirstBucket - (precision-2)<<PairStepBits)
	}
}

// Reset forgets the counts and sets the relative difference that Exceeds
// refers to to 0.
func (p *Pairs) Reset() {
	p.vectors.count = [pairStep][PairBuckets + 8]int64{}
	p.SetMaxRel(0)
}

// SetMaxRel sets the relative difference that Exceeds refers to.
func (p *Pairs) SetMaxRel(v float64) {
	for i := range p.vectors.maxRel {
		p.vectors.maxRel[i] = v
	}
}

// Values measures two slices of one length, and adds d² to dd and r² to rr,
// element by element. Differences may overflow where overflow is set.
func (p *Pairs) Values(r, t, dd, rr []float64, overflow bool) {
	p.clear()
	t, dd, rr = t[:len(r)], dd[:len(r)], rr[:len(r)]
	n := 0
	if k := pairKernels[float64s]; k != nil && len(r) >= pairStep && !overflow {
		n = len(r) / pairStep * pairStep
		k((*byte)(unsafe.Pointer(&r[0])), (*byte)(unsafe.Pointer(&t[0])), n, &dd[0], &rr[0], &p.vectors.absolute[0])
	}
	p.vectors.measure(r[n:], t[n:], dd[n:], rr[n:])
}

// Reads sets the types of the bytes that Stored measures, and reports whether
// it can.
func (p *Pairs) Reads(r, t tensor.DType) bool {
	p.types = [2]tensor.DType{r, t}
	p.stored = pairKernels[p.types]
	return p.stored != nil
}

// Stored is Values for little-endian bytes of the types of Reads.
func (p *Pairs) Stored(r, t []byte, dd, rr []float64) {
	p.clear()
	n := len(dd) / pairStep * pairStep
	rs, ts := p.types[0].Size(), p.types[1].Size()
	r, t, rr = r[:len(dd)*rs], t[:len(dd)*ts], rr[:len(dd)]
	if n > 0 {
		p.stored(&r[0], &t[0], n, &dd[0], &rr[0], &p.vectors.absolute[0])
	}
	if rest := len(dd) - n; rest > 0 {
		a, b := p.rest[0][:rest], p.rest[1][:rest]
		tensor.LoadFloat64(a, p.types[0], r[n*rs:])
		tensor.LoadFloat64(b, p.types[1], t[n*ts:])
		p.vectors.measure(a, b, dd[n:], rr[n:])
	}
}

func (p *Pairs) clear() {
	v := &p.vectors
	v.dd, v.rr, v.tt, v.rd, v.sum = [4]float64{}, [4]float64{}, [4]float64{}, [4]float64{}, [4]float64{}
	v.max, v.excess, v.units = [4]float64{}, [4]uint64{}, [4]float64{}
	v.equal, v.mismatched = [4]int64{}, [4]int64{}
}

// measure is the assembly in plain Go, which also goes on where it ends.
func (v *pairVectors) measure(r, t, dd, rr []float64) {
	for l := range min(pairLanes, len(r)) {
		v.lane(l, r, t[:len(r)], dd[:len(r)], rr[:len(r)])
	}
}

// lane measures every fourth pair from l on. Sizes are compared by their bits,
// which for values that are not negative order as the values do.
func (v *pairVectors) lane(l int, r, t, dd, rr []float64) {
	const absolute = signBit - 1
	atol, rtol, maxRel, lowest := v.atol[0], v.rtol[0], v.maxRel[0], int(v.lowest[0])
	least, place := math.Float64bits(v.least[0]), math.Float64bits(v.place[0])
	sdd, srr, stt, srd, sum := v.dd[l], v.rr[l], v.tt[l], v.rd[l], v.sum[l]
	most, units := math.Float64bits(v.max[l]), math.Float64bits(v.units[l])
	equal, mismatched, excess := 0, 0, v.excess[l]
	for i := l; i < len(r); i += pairLanes {
		a, b := r[i], t[i]
		d := b - a
		d2, r2 := float64(d*d), float64(a*a)
		sdd += d2
		srr += r2
		stt, srd = math.FMA(b, b, stt), math.FMA(a, d, srd)
		dd[i] += d2
		rr[i] += r2
		ab, bb, db := math.Float64bits(a)&absolute, math.Float64bits(b)&absolute, math.Float64bits(d)&absolute
		d = math.Float64frombits(db)
		sum += d
		most = max(most, db)

		// The last place is that of the larger value; its exponent is inverted.
		size := max(ab, bb, place)
		u := math.Float64bits(d * math.Float64frombits(^size&(0x7ff<<52)))
		units = max(units, u)
		v.count[i%pairStep][min(max(int(u>>(52-PairStepBits))-lowest, 0), PairBuckets-1)]++

		same, outside := 0, 0 // no branches: nobody could predict them
		if a == b {
			same = 1
		}
		if d > atol+float64(rtol*math.Float64frombits(ab)) {
			outside = 1
		}
		equal += same
		mismatched += outside
		excess |= math.Float64bits(math.FMA(maxRel, math.Float64frombits(max(ab, least)), -d))
	}
	v.dd[l], v.rr[l], v.tt[l], v.rd[l], v.sum[l] = sdd, srr, stt, srd, sum
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
