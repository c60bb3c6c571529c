package ref

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

var updateCalls = flag.Bool("update-calls", false, "write testdata/architectures/calls")

// TestCalls holds what hooks see of every architecture in each era to a list that was
// read against vLLM's sources: the calls in their order, the arguments by position, what
// is written in place (a star), views (a v) and results. The prompt has 5 tokens; the
// token that is decoded after it is listed where its calls are others.
func TestCalls(t *testing.T) {
	folder := filepath.Join(fixture.Architectures(), "calls")
	var want []string
	for arch, dir := range firstOfEach(t) {
		for _, r := range []nn.Rounding{nn.VLLM2025, nn.VLLM2026} {
			file := arch + "." + string(r) + ".txt"
			want = append(want, file)
			t.Run(file, func(t *testing.T) {
				got := strings.Join(callsOf(t, dir, r), "\n") + "\n"
				path := filepath.Join(folder, file)
				if *updateCalls {
					require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
				}
				golden, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, string(golden), got)
			})
		}
	}
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, e := range entries {
		require.Contains(t, want, e.Name(), "a list of no architecture")
	}
}

// firstOfEach finds the first folder of each architecture.
func firstOfEach(t *testing.T) map[string]string {
	configs, err := filepath.Glob(filepath.Join(fixture.Architectures(), "*", "config.json"))
	require.NoError(t, err)
	dirs := map[string]string{}
	for _, config := range configs {
		data, err := os.ReadFile(config)
		require.NoError(t, err)
		c, err := model.ParseConfig(config, data)
		require.NoError(t, err)
		if dirs[c.Architectures[0]] == "" {
			dirs[c.Architectures[0]] = filepath.Dir(config)
		}
	}
	for _, arch := range model.Architectures() {
		require.NotEmpty(t, dirs[arch], "testdata/architectures has no %s", arch)
	}
	return dirs
}

func callsOf(t *testing.T, dir string, r nn.Rounding) []string {
	ckpt, err := model.Open(dir)
	require.NoError(t, err)
	defer ckpt.Close()
	m, err := model.Build(ckpt, model.OptionsOf(r))
	require.NoError(t, err)
	engine, err := NewEngine(m, Config{DType: tensor.BFloat16, Rounding: r, Threads: 1})
	require.NoError(t, err)
	list := &callList{}
	engine.Hooks = list
	require.NoError(t, engine.Generate(context.Background(), []*Request{{Prompt: []int{1, 17, 30, 99, 4}, MaxTokens: 2}}, 7, nil))
	if m.RootBypassed { // each forward with its logits, all in one step
		all := list.steps[0]
		at := 1 + slices.IndexFunc(all[1:], func(line string) bool { return strings.HasPrefix(line, all[0][:strings.Index(all[0], " (")]) })
		list.steps = [3][]string{all[:at], append([]string{""}, all[at:]...)}
		list.steps[1][0], list.steps[0] = all[at-1], all[:at-1]
	}
	prompt := append(list.steps[0], list.steps[1][0]) // the logits of a step come after its end
	decode := append(list.steps[1][1:], list.steps[2]...)
	rows := rowsLeftOut("")
	if strings.Contains(prompt[0], "(1,5") {
		rows = rowsLeftOut("1,") // of a batch
	}
	if slices.EqualFunc(prompt, decode, func(p, d string) bool { return rows.Replace(p) == rows.Replace(d) }) {
		return append(prompt, "", "a token decoded: the same")
	}
	return append(append(prompt, "", "a token decoded:"), decode...)
}

// rowsLeftOut leaves out of a line the numbers of rows, behind a batch dimension, and what follows
// from there being one: a view of one row is contiguous.
func rowsLeftOut(batch string) *strings.Replacer {
	return strings.NewReplacer("("+batch+"5", "(T", "("+batch+"1", "(T", "(1,", "(T,", "v", "")
}

// callList writes each call down.
type callList struct {
	steps [3][]string
	step  int
	open  []seenArgs
}

// seenArgs are the arguments of a call that has not returned.
type seenArgs struct {
	line   int
	before [][]byte
}

func (l *callList) StepDone() error { l.step++; return nil }
func (l *callList) SkipTo(int)      {}

func (l *callList) Pre(module string, args il.Tuple) il.Tuple {
	seen := seenArgs{line: len(l.steps[l.step])}
	for i := range args {
		var b []byte
		if x := args.Tensor(i); x != nil {
			b = bytes.Clone(x.Bytes())
		}
		seen.before = append(seen.before, b)
	}
	l.open = append(l.open, seen)
	l.steps[l.step] = append(l.steps[l.step], "")
	return args
}

func (l *callList) Post(module string, args il.Tuple, out il.Value) {
	seen := l.open[len(l.open)-1]
	l.open = l.open[:len(l.open)-1]
	var in []string
	for i, x := range args {
		text := described(x)
		if x := args.Tensor(i); x != nil && !bytes.Equal(x.Bytes(), seen.before[i]) {
			text += "*"
		}
		in = append(in, text)
	}
	l.steps[l.step][seen.line] = fmt.Sprintf("%s%s (%s) -> %s", strings.Repeat("  ", len(l.open)), module, strings.Join(in, ", "), described(out))
}

// described is a value as the list has it.
func described(v il.Value) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case *tensor.Tensor:
		text := strings.ReplaceAll(fmt.Sprint(v.Shape), " ", ",")
		text = "(" + text[1:len(text)-1] + ")"
		if v.DType != tensor.BFloat16 {
			text = v.DType.String() + text
		}
		if !v.IsContiguous() {
			text += "v"
		}
		return text
	case il.Tuple:
		var list []string
		for _, x := range v {
			list = append(list, described(x))
		}
		return "[" + strings.Join(list, ", ") + "]"
	case il.Object:
		return v.Type
	}
	return fmt.Sprint(v)
}
