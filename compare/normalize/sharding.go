package normalize

import (
	"fmt"

	"github.com/ilref/ilref/topology"
)

// joinedDim is the dimension that the ranks' parts are joined along, of a tensor
// with so many dimensions.
func joinedDim(sharding topology.Sharding, dims int) int {
	if sharding == topology.HeadAxis || sharding == topology.KVHeadAxis {
		return 1
	}
	return dims - 1
}

// pieces lists what a whole is made of: extents are the sizes of the joined
// dimension of every rank, q and k the widths of a rank's queries and keys, and
// rep is how many ranks in a row hold the same keys and values, of which those of
// the copy-th are taken.
func pieces(sharding topology.Sharding, extents []int, q, k, rep, copy int) ([]piece, error) {
	var out []piece
	part := func(step int, bounds func(extent int) (from, n int)) {
		for i := copy % step; i < len(extents); i += step {
			from, n := bounds(extents[i])
			out = append(out, piece{i, from, n})
		}
	}
	all := func(extent int) (int, int) { return 0, extent }
	switch sharding {
	case topology.Column, topology.HeadAxis:
		part(1, all)
	case topology.KVColumn, topology.KVHeadAxis:
		part(rep, all)
	case topology.MergedColumn:
		part(1, func(extent int) (int, int) { return 0, extent / 2 })
		part(1, func(extent int) (int, int) { return extent / 2, extent - extent/2 })
	case topology.PackedQKV:
		for _, e := range extents {
			if e != q+2*k {
				return nil, fmt.Errorf("a rank's packed q, k and v are %d wide, but its queries are %d and its keys %d", e, q, k)
			}
		}
		part(1, func(int) (int, int) { return 0, q })
		part(rep, func(int) (int, int) { return q, k })
		part(rep, func(int) (int, int) { return q + k, k })
	}
	return out, nil
}
