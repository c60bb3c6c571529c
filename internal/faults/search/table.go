package main

import (
	"fmt"
	"io"
	"math"
)

const preface = `# How often a verdict is right

Printed by %s.

Each trial draws a prompt of 1 to %d rows in a batch of 1 to 4, gopher-1m with or without outlier channels and a massive first
token, bfloat16, float16 or float32, a rounding profile, and sums that are reversed, split in two rounded halves or over two ranks. It is compared without a fault,
and with an error of a random size in a random place of a random call. What is found is named at that call.

`

// write prints the rates in Markdown, command being what was run.
func write(w io.Writer, command string, rows int, rs []result) error {
	fmt.Fprintf(w, preface, "`"+command+"`", rows)
	alarms := map[string]int{}
	for _, r := range rs {
		for mode := range r.alarms {
			alarms[mode]++
		}
	}
	fmt.Fprintf(w, "False alarms in %d comparisons without a fault: two sessions %d, replay %d.\n\n", len(rs), alarms["two"], alarms["replay"])

	block, drift := 0., 0.
	for _, r := range rs {
		block, drift = max(block, r.block/r.limit), max(drift, r.drift/r.limit)
	}
	fmt.Fprintf(w, "By replay the least likely block without a fault reaches %.2f of its limit, the least likely sum %.2f.\n\n", block, drift)

	fmt.Fprintf(w, "Found, by the size of the error as a share of the values (two sessions; replay; trials):\n\n| place |")
	shares := []float64{1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1}
	for i := range shares[1:] {
		fmt.Fprintf(w, " %g to %g %% |", 100*shares[i], 100*shares[i+1])
	}
	fmt.Fprintln(w, "\n|---|---|---|---|---|---|---|")
	for _, p := range places {
		fmt.Fprintf(w, "| %s |", p)
		for i := range shares[1:] {
			two, replay, n := 0, 0, 0
			for _, r := range rs {
				if r.fault.place != p || r.fault.share < shares[i] || r.fault.share >= shares[i+1] {
					continue
				}
				n++
				two += one(r.found["two"])
				replay += one(r.found["replay"])
			}
			fmt.Fprintf(w, " %s; %s; %d |", percent(two, n), percent(replay, n), n)
		}
		fmt.Fprintln(w)
	}

	fmt.Fprintf(w, "\nFound by replay, by the size of the error in units of noise (found of trials):\n\n| place |")
	sizes := []float64{0, 1, 1.5, 2, 3, 5, 7, 10, 12, math.Inf(1)}
	for i := range sizes[1:] {
		fmt.Fprintf(w, " %g to %g |", sizes[i], sizes[i+1])
	}
	fmt.Fprintln(w, "\n|---|---|---|---|---|---|---|---|---|---|")
	for _, p := range append(places[:len(places):len(places)], "64 values and more") {
		fmt.Fprintf(w, "| %s |", p)
		for i := range sizes[1:] {
			found, n := 0, 0
			for _, r := range rs {
				if (r.fault.place == p || p == "64 values and more" && r.fault.values() >= 64) && r.size >= sizes[i] && r.size < sizes[i+1] {
					n++
					found += one(r.found["replay"])
				}
			}
			fmt.Fprintf(w, " %d of %d |", found, n)
		}
		fmt.Fprintln(w)
	}
	return nil
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

func percent(n, of int) string {
	if of == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", 100*float64(n)/float64(of))
}
