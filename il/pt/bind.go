package pt

import "fmt"

// bind gives the tensors their bytes, and reads the parameters of those that
// are quantised per channel.
func (l *loader) bind() error {
	for _, x := range l.tensors {
		if x.storage == nil {
			continue
		}
		b, err := l.littleEndian(x.storage, x.t.DType.ComponentSize())
		if err != nil {
			return err
		}
		x.t.Data = b
		if x.scales == nil {
			continue
		}
		n := x.scales.t.Shape[0]
		q := x.t.Quant
		q.Scales, q.ZeroPoints = make([]float64, n), make([]float64, n)
		if err := x.scales.t.Float64s(q.Scales, 0); err != nil {
			return err
		}
		if err := x.zeros.t.Float64s(q.ZeroPoints, 0); err != nil {
			return err
		}
	}
	return nil
}

// littleEndian returns the bytes of a storage, of which every component has
// the given size: in place, or in a copy when the file is big-endian.
func (l *loader) littleEndian(s *storage, size int) ([]byte, error) {
	b := s.bytes()
	if !l.bigEndian || size == 1 {
		return b, nil
	}
	if swapped, ok := s.swapped[size]; ok {
		return swapped, nil
	}
	if err := l.copies.spend(len(b)); err != nil {
		return nil, fmt.Errorf("storage %s: turned to little-endian, %w", s.key, err)
	}
	if s.swapped == nil {
		s.swapped = map[int][]byte{}
	}
	swapped := swapBytes(b, size)
	s.swapped[size] = swapped
	return swapped, nil
}
