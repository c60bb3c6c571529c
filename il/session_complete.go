package il

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/internal/terminal"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
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

// nothingRecorded tells what the session.json of a directory without steps says, "" where
// it has none that can be read.
func nothingRecorded(dir string) string {
	p, _, err := provenance.Read(dir)
	switch {
	case err != nil || p == nil:
		return ""
	case p.Reason != "":
		return fmt.Sprintf("its %s says that the recording is %s: %s", provenance.FileName, p.Status, short(p.Reason))
	case p.Status == "":
		return fmt.Sprintf("its %s says nothing of why", provenance.FileName)
	}
	return fmt.Sprintf("its %s says that the recording is %s; the il config's log_step_ids and module_call_match choose what is recorded", provenance.FileName, p.Status)
}

// maxShort is how much of a text from a file stands in a message.
const maxShort = 300

// short is a text for a message of one line.
func short(s string) string {
	return terminal.Printable(strings.Join(strings.Fields(terminal.Cut(s, maxShort)), " "))
}

// checkLag holds what the session says of the place of its logits against the order of
// its calls: logits of the forward before come first in a step, those of its own last.
func (s *Session) checkLag() {
	if s.made == nil || s.made.Run.LogitsLag == nil || s.Variant == VariantC || s.logitsMoved {
		return
	}
	lag := *s.made.Run.LogitsLag
	for _, st := range s.Steps {
		at := slices.IndexFunc(st.Calls, func(c *Call) bool { return topology.Of(c.Module).Kind == topology.Logits })
		if n := len(st.Calls); at >= 0 && n > 1 && (lag == 0 && at == 0 || lag == 1 && at == n-1) {
			s.lagContradicted = true
			s.Warnings = append(s.Warnings, fmt.Sprintf("%s: /run/logits_lag: says %d, but %s is call %d of %d in step_%d: ignored",
				filepath.Join(s.Dir, provenance.FileName), lag, st.Calls[at].Module, at+1, n, st.Number))
			return
		}
	}
}
