package main

import (
	"github.com/spf13/cobra"

	"github.com/ilref/ilref/internal/cli"
)

func complete(root *cobra.Command) {
	two, runs := cli.Operands(cli.Dirs, cli.Dirs), cli.Completer(cli.Dirs)
	cli.Finish(root, map[string]cli.Completer{
		"":                two,
		"lint":            cli.Operands(cli.Dirs),
		"convert":         cli.Operands(cli.Dirs),
		"map":             two,
		"suggest":         runs,
		"merge":           cli.Files("json"),
		"baseline":        cli.Operands(),
		"baseline save":   cli.Operands(cli.Dirs),
		"baseline check":  cli.Operands(cli.Files(), cli.Dirs),
		"baseline accept": cli.Operands(cli.Files(), cli.Dirs),

		"--format":         cli.Values(formats...),
		"lint --format":    cli.Values(lintFormats...),
		"convert --output": cli.Dirs,
		"--color":          cli.Values(colors...),
		"--keep":           cli.Values(keptForms...),
		"--output":         cli.Files(),
		"--policy":         cli.Files("yaml", "yml"),
		"--map":            cli.Files("json"),
		"--model":          cli.Dirs,
		"--replay":         cli.Dirs,
		"--oracle":         cli.Dirs,
		"--floor":          cli.Dirs,
	})
}
