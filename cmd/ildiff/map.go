package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/il/foreign"
)

const mapLong = `Map proposes which module of TARGET is which of REFERENCE, for models whose
modules have other names, as a file for ildiff --map. Modules of equal names need
no line; transformers' names are known without a map. The proposal pairs modules
of the same layer whose outputs are equally wide, the most similar names first:
read it and correct it. With --model the checkpoint computes the target's modules
again under the reference's names.

Each line's "reference" is a module's name, or a regular expression (Go's syntax)
for the whole of it; in "target", $1 is its first group.`

// addMap makes "ildiff map REFERENCE TARGET" part of ildiff.
func addMap(root *cobra.Command, stdout io.Writer) {
	var path string
	cmd := &cobra.Command{
		Use:     "map REFERENCE TARGET",
		Short:   "propose a map of module names",
		Long:    mapLong,
		Example: "  ildiff map A B -o names.json\n  ildiff A B --map names.json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("map: want two session directories, the reference and the target, but got %d (see ildiff map --help)", len(args))
			}
			return nil
		},
		RunE:                  func(_ *cobra.Command, args []string) error { return writeMap(args[0], args[1], path, stdout) },
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().StringVarP(&path, "output", "o", "", "write the map to `FILE` instead of stdout")
	root.AddCommand(cmd)
}

func writeMap(refDir, targetDir, path string, stdout io.Writer) error {
	out, err := newOutput(path, stdout)
	if err != nil {
		return err
	}
	defer out.abort()
	ref, err := foreign.Open(refDir)
	if err != nil {
		return err
	}
	target, err := foreign.Open(targetDir)
	if err != nil {
		return err
	}
	if err = normalize.WriteMap(out, ref, target); err == nil {
		err = out.commit()
	}
	switch {
	case err != nil && path != "":
		return cannotWrite(path, err)
	case err != nil:
		return fmt.Errorf("cannot write the map: %w", err)
	}
	return nil
}

// offset is a flag with a whole number, which may be negative.
type offset struct {
	v   int
	set bool
}

func (o *offset) String() string {
	if !o.set {
		return ""
	}
	return strconv.Itoa(o.v)
}

// Set implements pflag.Value.
func (o *offset) Set(s string) error {
	v, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return fmt.Errorf("want a whole number of steps, as in 3 or -2")
	}
	o.v, o.set = int(v), true
	return nil
}

// Type implements pflag.Value: what --help calls the argument.
func (o *offset) Type() string { return "N" }

// view says how the sessions are made comparable.
func (f *flags) view() (o normalize.Options, err error) {
	if f.stepOffset.set {
		o.StepOffset = &f.stepOffset.v
	}
	if f.mapFile != "" {
		o.Map, err = normalize.LoadMap(f.mapFile)
	}
	return o, err
}
