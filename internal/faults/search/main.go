// Search measures how often ildiff calls a difference a fault that is none, and
// which faults it misses: on random prompts, lengths, batches, models with and
// without outlier channels, types and orders of summation, with an error of a random size
// put into a random place of a random call.
//
//	go run ./internal/faults/search -trials 1000 -seed 1 [CHECKPOINT-DIR ...]
//
// docs/fault-search.md is what it prints.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/ilref/ilref/internal/workers"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "search:", err)
		os.Exit(2)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("search", flag.ContinueOnError)
	fs.SetOutput(stderr)
	trials := fs.Int("trials", 100, "`N` workloads to try, each without a fault and with one")
	seed := fs.Uint64("seed", 1, "`SEED` of all choices")
	rows := fs.Int("rows", 2000, "`N` rows of a prompt at most")
	in := fs.String("in", "", "put all faults into modules whose name ends in `SUFFIX`, such as .attn")
	at := fs.Int("j", runtime.GOMAXPROCS(0), "`N` trials at the same time")
	if err := fs.Parse(args); err != nil {
		return err
	}
	results := make([]result, *trials)
	errs := make([]error, *trials)
	workers.Each(*at, *trials, func(i int) {
		results[i], errs[i] = newTrial(*seed, i, *rows, *in, fs.Args()).run()
		switch r := &results[i]; {
		case errs[i] != nil:
		case len(r.alarms) > 0:
			fmt.Fprintf(stderr, "trial %d: %s\n", i, r.alarms)
		case r.size >= 2 && r.fault.values() >= 64 && !r.found["replay"]:
			fmt.Fprintf(stderr, "trial %d: missed by replay: %s\n", i, r.fault.describe(r.size))
		case r.block > 0.6*r.limit:
			fmt.Fprintf(stderr, "trial %d: near the limit of %.3g: %s\n", i, r.limit, r.at)
		}
	})
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("trial %d of seed %d: %w", i, *seed, err)
		}
	}
	command := fmt.Sprintf("go run ./internal/faults/search -trials %d -seed %d -rows %d", *trials, *seed, *rows)
	if *in != "" {
		command += " -in " + *in
	}
	return write(stdout, strings.Join(append([]string{command}, fs.Args()...), " "), *rows, results)
}
