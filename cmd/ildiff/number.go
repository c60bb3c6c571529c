package main

import (
	"fmt"
	"math"
	"strconv"
)

// number is a flag with a finite value in a range; given tells whether it was
// set.
type number struct {
	v         float64
	low, high float64
	set       bool
}

var nonNegative = number{low: 0, high: math.MaxFloat64}

func (n *number) String() string {
	if n.v == 0 {
		return ""
	}
	return strconv.FormatFloat(n.v, 'g', -1, 64)
}

// Set implements pflag.Value.
func (n *number) Set(s string) error {
	v, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil:
		return fmt.Errorf("not a number")
	case !(v >= n.low):
		return fmt.Errorf("want %g or more", n.low)
	case !(v <= n.high):
		return fmt.Errorf("want %g or less", n.high)
	}
	n.v, n.set = v, true
	return nil
}

// Type implements pflag.Value: what --help calls the argument.
func (n *number) Type() string { return "NUMBER" }

func (n *number) given() *float64 {
	if !n.set {
		return nil
	}
	return &n.v
}
