package faults

import (
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Fault is one thing that can be wrong, and where ildiff must say so.
type Fault struct {
	Name       string
	What       string                   // what is wrong, in a line
	Hint       string                   // what the hint must say: one of the texts between bars
	Where      Place                    // the call that must be named
	Needs      func(*model.Config) bool // the models that can have it; nil for all
	DType      tensor.DType             // of the run; bfloat16 where it is not given
	Batch      bool                     // of a batch of chunked and of short prompts, instead of one request
	NeedsModel bool                     // the hint takes a model at hand: two sessions alone have none
	Inject     func(*Run)
	Tokens     func(*requests.Plan) // instead of Inject: what the model is given

	Parallel *Parallel // instead of Inject: tensor-parallel ranks, and what is wrong with one
}

var rope = topology.InLayer(0, topology.RotaryName) // one object, registered under layer 0

// All lists the faults.
func All() []Fault {
	var all []Fault
	for _, group := range [][]Fault{ropeFaults(), normFaults(), linearFaults(), attentionFaults(), outputFaults(), batchFaults(), tokenFaults(), rankFaults()} {
		all = append(all, group...)
	}
	return all
}
