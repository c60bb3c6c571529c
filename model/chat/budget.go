package chat

import (
	"fmt"
	"reflect"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// What a template may use up. Real templates have at most some 20 KB, and
// render a turn in some hundred steps.
const (
	maxTemplate = 64 << 10  // bytes; the parser recurses on nesting
	maxSteps    = 1 << 22   // expressions, statements, elements, and 64 bytes of text
	maxBytes    = 128 << 20 // bytes of all texts and lists that are made, kept or not
	maxOutput   = 16 << 20  // bytes of the text, and of each variable
	maxRange    = 1 << 16   // elements of range(), and of each variable
	maxDepth    = 64        // of values in values
)

const elementSize = 64 // bytes of a list's element, about

var errTooMuch = fmt.Errorf("it needs more than %d steps, %d MiB, or a range of %d", maxSteps, maxOutput>>20, maxRange)

var errTooDeep = fmt.Errorf("a value is nested more than %d deep, or holds itself", maxDepth)

// budget is what one rendering has used. Everything that takes time is paid
// for before it is done, so that nothing has to be stopped.
type budget struct{ steps, bytes int }

// step pays for n units of work.
func (r *run) step(n int) {
	if n < 0 || n > maxSteps-r.used.steps {
		r.fail(errTooMuch)
	}
	r.used.steps += n
}

// read pays for going over n bytes of text.
func (r *run) read(n int) { r.step(1 + n/64) }

// text pays for a text of n bytes that is about to be made.
func (r *run) text(n int) {
	if n < 0 || n > maxOutput || n > maxBytes-r.used.bytes {
		r.fail(errTooMuch)
	}
	r.used.bytes += n
	r.read(n)
}

// elements pays for a list of n elements that is about to be made.
func (r *run) elements(n int) {
	if n < 0 || n > (maxBytes-r.used.bytes)/elementSize {
		r.fail(errTooMuch)
	}
	r.used.bytes += n * elementSize
	r.step(1 + n)
}

// walk pays for what the library does when it prints or compares a value: it
// goes over all of it, a part as often as it is met. It returns the bytes of
// the print, about, and fails for a value that holds itself.
func (r *run) walk(v *exec.Value) int {
	n := r.walkDeep(v, 0)
	if n > maxOutput {
		r.fail(errTooMuch)
	}
	return n
}

// print is the text of a value.
func (r *run) print(v *exec.Value) string {
	if v.IsString() { // is there already
		return v.String()
	}
	r.text(r.walk(v))
	return v.String()
}

func (r *run) walkDeep(v *exec.Value, depth int) int {
	r.step(4) // as slow as four expressions
	if depth > maxDepth {
		r.fail(errTooDeep)
	}
	if v.IsNil() {
		return 0
	}
	n := 4 // a number, and ", "
	add := func(item *exec.Value) {
		if n += r.walkDeep(item, depth+1); n > maxOutput {
			r.fail(errTooMuch)
		}
	}
	switch {
	case v.IsString():
		n += v.Val.Len()
		r.read(n)
	case v.IsList():
		for i := range v.Len() {
			add(v.Index(i))
		}
	default:
		switch x := v.Interface().(type) {
		case *exec.Dict:
			r.quadratic(len(x.Pairs), len(x.Pairs)) // a comparison looks each key up
			for _, p := range x.Pairs {
				add(p.Key)
				add(p.Value)
			}
		case *loopInfo: // printed as one, but compared in all its parts
			for _, t := range x.turns {
				add(t.item())
			}
		case namespace:
			for name, field := range x {
				n += len(name) + 4
				add(exec.ToValue(field))
			}
		default:
			if v.Val.Kind() == reflect.Map {
				for _, key := range v.Val.MapKeys() {
					n += key.Len() + 4
					add(exec.ToValue(v.Val.MapIndex(key)))
				}
			}
		}
	}
	return n
}

// quadratic pays for a search of n things among m.
func (r *run) quadratic(n, m int) {
	if m > 0 && n > (maxSteps<<6)/m {
		r.fail(errTooMuch)
	}
	r.step(n * m >> 6)
}
