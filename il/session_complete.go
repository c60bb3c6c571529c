package il

import (
	"fmt"

	"github.com/ilref/ilref/tensor"
)

// Unrecorded tells why a call that was made holds no tensor, "" for one that
// does, or has none by nature: a list names it without a file, or its side files
// describe tensors that were not saved.
func (c *Call) Unrecorded() string {
	if len(c.Slots) > 0 || !c.leavesTrace || !c.listed {
		return ""
	}
	if len(c.side) == 0 {
		return "listed in " + callsFile + ", and nothing of it was saved"
	}
	for _, d := range directions {
		if c.side[d] == "" {
			continue
		}
		v, err := c.Values(d)
		if err != nil {
			return err.Error()
		}
		if n := countTensors(v); n > 0 {
			return fmt.Sprintf("%s.json describes tensors (%d), and none was saved", d, n)
		}
	}
	return ""
}

func countTensors(v Value) int {
	n := 0
	switch v := v.(type) {
	case Tuple:
		for _, x := range v {
			n += countTensors(x)
		}
	case List:
		for _, x := range v {
			n += countTensors(x)
		}
	case Dict:
		for _, x := range v {
			n += countTensors(x.Value)
		}
	case *tensor.Tensor:
		return 1
	}
	return n
}

// Unfinished tells why the session is not, or not yet, that of a run that has
// ended, "" for one that is: its last step has no list of calls where others have
// one, for the logger writes it with the step's first call.
func (s *Session) Unfinished() string { return s.unfinished }
