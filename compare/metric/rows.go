package metric

import "math"

// rows measures each row, of all dimensions but the last, as it goes by: only
// the row at hand and the worst one are kept.
type rows struct {
	width     int // values in a row
	now       sums
	nonFinite int // in the row at hand

	n        int
	worstAt  int
	worstRel float64
	signed   [2]int // rows with r·d below and above 0
	sizes    [rowBuckets]int32
}

func (r *rows) finish() {
	rel := ratio(math.Sqrt(r.now.dd), math.Sqrt(r.now.rr))
	if r.nonFinite > 0 {
		rel = math.Inf(1)
	}
	if rel > r.worstRel || r.n == 0 {
		r.worstRel, r.worstAt = rel, r.n
	}
	switch rd := r.now.rd; {
	case rd < 0:
		r.signed[0]++
	case rd > 0:
		r.signed[1]++
	}
	r.sizes[rowBucket(rel)]++
	r.now, r.nonFinite = sums{}, 0
	r.n++
}

// rowBuckets covers rel_l2 from 2^-64 to 2, below which it is 0 or as good.
const rowBuckets = 65 << stepBits

func rowBucket(rel float64) int {
	const first = (1023 - 64) << stepBits
	return min(max(int(math.Float64bits(rel)>>(52-stepBits))-first, 0), rowBuckets-1)
}

// median is the upper end of the bucket that holds the median of the rows' gaps.
func (r *rows) median() float64 {
	seen := 0
	for i, n := range r.sizes {
		if seen += int(n); i > 0 && 2*seen >= r.n {
			return math.Ldexp(float64(1<<stepBits+i&(1<<stepBits-1)+1), i>>stepBits-64-stepBits)
		}
		if 2*seen >= r.n {
			return 0
		}
	}
	return 0
}

// merge adds the rows that follow.
func (r *rows) merge(o *rows) {
	if o.worstRel > r.worstRel || r.n == 0 {
		r.worstRel, r.worstAt = o.worstRel, r.n+o.worstAt
	}
	r.signed[0] += o.signed[0]
	r.signed[1] += o.signed[1]
	for i, n := range o.sizes {
		r.sizes[i] += n
	}
	r.n += o.n
}

func (r *rows) worst() *Worst {
	if r.n == 0 {
		return nil
	}
	return &Worst{Index: r.worstAt, RelL2: r.worstRel, Values: r.width}
}

func (r *rows) signs() float64 {
	if r.signed == [2]int{} {
		return 0
	}
	return float64(r.signed[1]-r.signed[0]) / math.Sqrt(float64(r.signed[0]+r.signed[1]))
}

// rowIndex is the C-order index of a row by the coordinates of a value in it.
func rowIndex(at, shape []int) int {
	i := 0
	for d := range len(shape) - 1 {
		i = i*shape[d] + at[d]
	}
	return i
}

// maxChannels bounds the memory of the per-channel sums to 16 MiB.
const maxChannels = 1 << 20

// channels sums up every column.
type channels struct {
	dd, rr []float64 // nil where there are too few rows to tell, or values that are not finite
}

func (c *channels) init(rows, width int) {
	if rows >= ChannelRows && width <= maxChannels {
		c.dd, c.rr = make([]float64, width), make([]float64, width)
	}
}

// from returns n sums from a column on, nil for none.
func (c *channels) from(column, n int) (dd, rr []float64) {
	if c.dd == nil {
		return nil, nil
	}
	return c.dd[column:][:n], c.rr[column:][:n]
}

// merge adds the sums of further rows.
func (c *channels) merge(o *channels) {
	if o.dd == nil {
		*c = channels{}
	}
	for i := range c.dd {
		c.dd[i] += o.dd[i]
		c.rr[i] += o.rr[i]
	}
}

// worst is the column with the largest gap in its own units.
func (c *channels) worst(rows int) *Worst {
	if c.dd == nil {
		return nil
	}
	w := &Worst{RelL2: -1, Values: rows}
	for i, dd := range c.dd {
		if rel := ratio(math.Sqrt(dd), math.Sqrt(c.rr[i])); rel > w.RelL2 {
			w.Index, w.RelL2 = i, rel
		}
	}
	return w
}
