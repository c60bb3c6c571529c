package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ilref/ilref/il/inspect"
)

func newInspectCommand() *cobra.Command {
	var format string
	var opts inspect.Options
	cmd := &cobra.Command{
		Use:   "inspect [flags] FILE.pt",
		Short: "Show the tensors of a .pt file",
		Long: `Show path, dtype, shape, strides, device, a few values and statistics of each
tensor in a file that torch.save wrote. Nothing in the file is executed.

In JSON, sha256 is that of the contiguous, C-order, little-endian tensor; it and
the statistics are null above 1 GiB unless --hash-all is given.`,
		Example: "  ilref inspect step_0/model.norm/outputs_0_cuda_0.pt\n  ilref inspect --format json pytorch_model.bin",
		Args:    exactArgs("a FILE.pt"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(inspectFormats, format) {
				return fmt.Errorf("--format %q: expected %s", format, oneOf(inspectFormats))
			}
			report, err := inspect.File(args[0], opts)
			if err != nil {
				return err
			}
			if format == "json" {
				return report.WriteJSON(cmd.OutOrStdout())
			}
			return report.WriteText(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "`FORMAT` text or json")
	cmd.Flags().BoolVar(&opts.HashAll, "hash-all", false, "hash and read tensors above 1 GiB too")
	return cmd
}
