// Package cli is what the programs' command lines have in common.
//
//	completion  what completes flags and operands        completion.go
//	commands    the commands completion and help         commands.go
//	errors      errors on one line                       errors.go
//	execute     exit codes, signals, internal errors     execute.go
//	man         manual pages, for a test of each program man
//	clitest     what both programs say of themselves, run
package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Completer says what completes the value of a flag or an operand. args are the
// operands before it.
type Completer = cobra.CompletionFunc

// Values completes by the given words.
func Values(words ...string) Completer {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

// Nothing completes free text, numbers and the like.
func Nothing(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// Dirs completes by folders: sessions and checkpoints.
func Dirs(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// Files completes by files whose names end so, by any for none.
func Files(extensions ...string) Completer {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		if len(extensions) == 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return extensions, cobra.ShellCompDirectiveFilterFileExt
	}
}

// Operands completes the n-th operand by the n-th of all.
func Operands(all ...Completer) Completer {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(all) {
			return Nothing(cmd, args, word)
		}
		if cmd.HasSubCommands() && len(args) == 0 && slices.ContainsFunc(cmd.Commands(), func(c *cobra.Command) bool { return strings.HasPrefix(c.Name(), word) }) {
			return nil, cobra.ShellCompDirectiveDefault // names of commands: no folders where a shell would enter one of the name
		}
		return all[len(args)](cmd, args, word)
	}
}

// Finish adds the commands completion and help, and tells how the flags and
// operands of all commands are completed. The keys are paths of
// commands without the program ("baseline save"), flags with their dashes
// ("--color"), or both ("lint --format"), which goes before the flag alone.
func Finish(root *cobra.Command, by map[string]Completer) {
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(completionCommand(root))
	root.SetHelpCommand(helpCommand(root))
	root.InitDefaultHelpCmd()
	for _, cmd := range Commands(root) {
		path := strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), root.Name()), " ")
		if c := by[path]; c != nil {
			cmd.ValidArgsFunction = c
		}
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			c := by[strings.TrimPrefix(path+" --"+f.Name, " ")]
			if c == nil {
				c = by["--"+f.Name]
			}
			if c == nil {
				c = Nothing
			}
			if f.NoOptDefVal == "" { // not a switch
				_ = cmd.RegisterFlagCompletionFunc(f.Name, c) // fails for flags that are not there or registered
			}
		})
	}
}

// Commands returns a command and all below it that people see.
func Commands(cmd *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			out = append(out, Commands(c)...)
		}
	}
	return out
}
