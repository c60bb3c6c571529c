package evidence_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/ref/evidence"
)

// A session that PyTorch recorded is judged by a replay: every module of the
// checkpoint is given the inputs that the session holds for it.
func ExampleReplay() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ckpt, err := model.Open("../../model/gopher1m/files")
	if err != nil {
		log.Fatal(err)
	}
	defer ckpt.Close()
	target, err := il.Open("../../testdata/sessions/gopher-1m-bf16")
	if err != nil {
		log.Fatal(err)
	}
	replay, skipped, err := evidence.Replay(context.Background(), target, nil, ckpt, nil, "", dir)
	if err != nil {
		log.Fatal(err)
	}
	r, err := compare.Sessions(target, target, compare.Options{Evidence: compare.Evidence{Replay: replay}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(skipped), "calls could not be replayed")
	fmt.Println("by the rule", r.Rule, r.Verdict)
	// Output:
	// 0 calls could not be replayed
	// by the rule replay pass
}
