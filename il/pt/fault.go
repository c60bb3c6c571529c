package pt

import (
	"fmt"
	"strconv"
)

// fault is what is wrong in a file: the record (or part) of it, the offset in
// that record, what was found there and what was expected.
type fault struct {
	record string
	offset int
	msg    string
}

func (f *fault) Error() string { return fmt.Sprintf("%s: offset %d: %s", f.record, f.offset, f.msg) }

func faultf(record string, offset int, format string, args ...any) error {
	return &fault{record, offset, fmt.Sprintf(format, args...)}
}

// quote shows a string of a file in an error: on one line, and not all of it.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	return strconv.QuoteToASCII(s)
}

// budget bounds the memory that reading a file takes beyond the mapping.
type budget struct {
	left  int
	total int
}

func newBudget(n int) *budget { return &budget{n, n} }

// spend takes n bytes.
func (b *budget) spend(n int) error {
	if n < 0 || n > b.left {
		return fmt.Errorf("its objects would take more than %d MiB of memory, out of proportion to the file", b.total>>20)
	}
	b.left -= n
	return nil
}
