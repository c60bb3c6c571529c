package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

var shells = []string{"bash", "zsh", "fish", "powershell"}

func completionCommand(root *cobra.Command) *cobra.Command {
	name := root.Name()
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "write the script that completes commands, flags and their values in a shell",
		Long: strings.ReplaceAll(`Completion writes a script for SHELL: bash, zsh, fish or powershell. To have it in
every session of the shell, write it where the shell looks for such scripts:

  bash        ~/.local/share/bash-completion/completions/PROGRAM (needs the
              package bash-completion)
  zsh         a file _PROGRAM in a folder of $fpath, before compinit runs
  fish        ~/.config/fish/completions/PROGRAM.fish
  powershell  a file that $PROFILE runs`, "PROGRAM", name),
		Example: fmt.Sprintf("  %[1]s completion bash > %[1]s.bash\n  %[1]s completion zsh > _%[1]s", name),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(shells, args[0]) {
				return fmt.Errorf("completion: want one of %s (see %s completion --help)", strings.Join(shells, ", "), name)
			}
			return nil
		},
		ValidArgsFunction: Operands(Values(shells...)),
		RunE: func(cmd *cobra.Command, args []string) error {
			w := cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			}
			return root.GenPowerShellCompletionWithDesc(w)
		},
		DisableFlagsInUseLine: true,
	}
}

// helpCommand is cobra's, but an unknown command is an error.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "show what a command does",
		Long:    "Help shows what a command does, as COMMAND --help does.",
		Example: fmt.Sprintf("  %s help completion", root.Name()),
		ValidArgsFunction: func(_ *cobra.Command, args []string, word string) (names []string, _ cobra.ShellCompDirective) {
			if c, rest, err := root.Find(args); err == nil && len(rest) == 0 {
				for _, sub := range c.Commands() {
					if strings.HasPrefix(sub.Name(), word) {
						names = append(names, sub.Name())
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			c, rest, err := root.Find(args)
			if err == nil && len(rest) > 0 {
				err = fmt.Errorf("unknown command %q for %q", rest[0], c.CommandPath())
			}
			if err != nil {
				return err
			}
			return c.Help()
		},
		DisableFlagsInUseLine: true,
	}
}
