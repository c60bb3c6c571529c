package compare_test

import (
	"fmt"
	"log"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/il"
)

// Two sessions of a model, of which all MLPs are compared.
func ExampleSessions() {
	reference, err := il.Open("../testdata/sessions/gopher-1m-bf16")
	if err != nil {
		log.Fatal(err)
	}
	target, err := il.Open("../testdata/sessions/gopher-1m-bf16") // usually another program's
	if err != nil {
		log.Fatal(err)
	}
	r, err := compare.Sessions(reference, target, compare.Options{Modules: []string{`\.mlp$`}})
	if err != nil {
		log.Fatal(err)
	}
	if d := r.FirstDivergence; d != nil {
		fmt.Println("parts at", d.Key, "because", d.Why)
		return
	}
	fmt.Printf("%s: %d module calls, %.0f %% of the tensors compared\n", r.Verdict, len(r.Modules), r.Coverage.Percent())
	// Output: pass: 32 module calls, 100 % of the tensors compared
}
