package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/tensor"
)

// renameModules copies a session whose modules have another name: renamed FROM TO OLD NEW.
func renameModules(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: renamed FROM TO OLD NEW")
	}
	dir := ts.MkAbs(args[1])
	ts.Check(os.CopyFS(dir, os.DirFS(ts.MkAbs(args[0]))))
	steps, err := filepath.Glob(filepath.Join(dir, "step_*"))
	ts.Check(err)
	for _, step := range steps {
		entries, err := os.ReadDir(step)
		ts.Check(err)
		for _, e := range entries {
			if name := strings.ReplaceAll(e.Name(), args[2], args[3]); name != e.Name() {
				ts.Check(os.Rename(filepath.Join(step, e.Name()), filepath.Join(step, name)))
			}
		}
		calls := filepath.Join(step, "module_calls.txt")
		b, err := os.ReadFile(calls)
		ts.Check(err)
		ts.Check(os.WriteFile(calls, bytes.ReplaceAll(b, []byte(args[2]), []byte(args[3])), 0o666))
	}
}

// padLogits copies a session whose logits have so many columns, those behind the
// vocabulary's of a value: padded FROM TO COLUMNS VALUE.
func padLogits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: padded FROM TO COLUMNS VALUE")
	}
	columns, err := strconv.Atoi(args[2])
	ts.Check(err)
	value, err := strconv.ParseFloat(args[3], 64)
	ts.Check(err)
	dir := ts.MkAbs(args[1])
	ts.Check(os.CopyFS(dir, os.DirFS(ts.MkAbs(args[0]))))
	files, err := filepath.Glob(filepath.Join(dir, "step_*", "logits_processor", "outputs*.pt"))
	ts.Check(err)
	for _, file := range files {
		x, closer, err := pt.OpenTensor(file)
		ts.Check(err)
		wide := widened(x, columns, value)
		ts.Check(closer.Close())
		ts.Check(os.Remove(file))
		ts.Check(pt.WriteFile(file, wide))
	}
}

func widened(x *tensor.Tensor, columns int, value float64) *tensor.Tensor {
	wide := tensor.New(x.DType, x.Shape[0], columns)
	row := make([]float64, columns)
	for i := range x.Shape[0] {
		for j := range row {
			row[j] = value
		}
		_ = x.Narrow(0, i, i+1).Float64s(row[:x.Shape[1]], 0)
		tensor.StoreFloat64(wide.Row(i), wide.DType, row)
	}
	return wide
}
