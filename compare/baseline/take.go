package baseline

import (
	"context"
	"fmt"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// Print is the fingerprint of a session.
type Print struct {
	Tensors    []*Tensor
	Unreadable []string // tensors, and calls that were not saved, and why they cannot be read
	Unfinished string   // why the session is not that of a run that has ended
}

// Take reads every tensor of a session, several at the same time; the result
// does not depend on how many. Tensors that were too large to log have none.
func Take(ctx context.Context, s *il.Session) (*Print, error) {
	type job struct {
		t    *Tensor
		file *il.TensorFile
		err  error
	}
	var jobs []*job
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			for _, slot := range c.Slots {
				for rank, f := range slot.Tensors {
					t := &Tensor{Step: st.Number, Module: c.Module, Call: c.Index, Direction: string(slot.Direction), Slot: slot.Path, Rank: rank}
					jobs = append(jobs, &job{t: t, file: f})
				}
			}
		}
	}
	err := each(ctx, len(jobs), func(i int) error {
		jobs[i].err = jobs[i].file.With(jobs[i].t.take)
		return nil
	})
	p := &Print{Unfinished: s.Unfinished()}
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			if why := c.Unrecorded(); why != "" {
				t := &Tensor{Step: st.Number, Module: c.Module, Call: c.Index, Direction: string(il.Outputs)}
				p.Unreadable = append(p.Unreadable, fmt.Sprintf("%s: %s", t, why))
			}
		}
	}
	for _, j := range jobs {
		if j.err != nil {
			p.Unreadable = append(p.Unreadable, fmt.Sprintf("%s: %v", j.t, j.err))
			continue
		}
		p.Tensors = append(p.Tensors, j.t)
	}
	return p, err
}

func (t *Tensor) take(x *tensor.Tensor) error {
	f, err := fingerprint(x)
	if err == nil {
		t.Fingerprint = *f
	}
	return err
}

// NaN names the first tensor that holds more NaN than the baseline's does, ""
// for none.
func (p *Print) NaN(b *Baseline) string {
	before := map[key]int{}
	if b != nil {
		for _, t := range b.Tensors {
			before[t.key()] = t.NaN
		}
	}
	for _, t := range p.Tensors {
		if t.NaN > before[t.key()] {
			return t.String()
		}
	}
	return ""
}
