package nn_test

import (
	"fmt"
	"log"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// mlp is a module that holds others: it registers them, and its Forward calls
// them one after another.
type mlp struct {
	nn.Base
	up  *nn.Linear
	act *nn.SiluAndMul
}

func newMLP(name string, weight *tensor.Tensor) *mlp {
	m := &mlp{Base: nn.NewBase(name, topology.DenseMLP)}
	m.up = nn.NewLinear(name+".gate_up_proj", topology.MergedColumnParallelLinear, nn.PackedWeight{Weight: nn.Dense{Weight: weight}})
	m.act = nn.NewSiluAndMul(name+".act_fn", weight.Shape[0]/2)
	m.Register(m.up)
	m.Register(m.act)
	return m
}

func (m *mlp) Forward(s *nn.Step, in il.Tuple) il.Value {
	return s.Call(m.act, nn.One(s.Call(m.up, in.Tensor(0))))
}

func (m *mlp) Inputs() []nn.Input { return m.up.Inputs() }

// printing is hooks that tell what is called.
type printing struct{}

func (printing) Pre(module string, args il.Tuple) il.Tuple {
	fmt.Println(module, "is given", args.Tensor(0))
	return args
}

func (printing) Post(module string, _ il.Tuple, _ il.Value) { fmt.Println(module, "is done") }

func Example() {
	m := newMLP("mlp", tensor.FromFloat64s(tensor.BFloat16, []float64{1, 2, 3, 4}, 4, 1))
	for _, x := range nn.Named(m) {
		fmt.Println(x.Name(), x.Spec().Kind.IsLinear())
	}
	numerics, err := nn.NewNumerics(tensor.BFloat16, nn.VLLM2025, 1)
	if err != nil {
		log.Fatal(err)
	}
	step := &nn.Step{Numerics: numerics, Hooks: printing{}}
	fmt.Println(step.Call(m, tensor.FromFloat64s(tensor.BFloat16, []float64{1}, 1, 1)))
	// Output:
	// mlp false
	// mlp.gate_up_proj true
	// mlp.act_fn false
	// mlp is given bfloat16[1,1]
	// mlp.gate_up_proj is given bfloat16[1,1]
	// mlp.gate_up_proj is done
	// mlp.act_fn is given bfloat16[1,4]
	// mlp.act_fn is done
	// mlp is done
	// bfloat16[1,2]
}
