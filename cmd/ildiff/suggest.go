package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/policy"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il/foreign"
)

const suggestLong = `Suggest writes a policy for ildiff --policy from runs that are known good: for
every kind of module (names that differ in numbers only), direction and element
type it takes the largest gap between REFERENCE and any RUN, times 2, and at least
one unit in the last place of the type. A run that fails by the default rule is
refused, unless --despite-gap says that its gap is meant, and a file that is there
already is not replaced. The first session is the reference; equal
sessions give equal bytes. Where all runs hold logits of tokens that they ran,
their log probabilities are bounded too.

Each rule is a regular expression for module names and the bounds of its tensors:

  version: 1
  rules:                          # the first that matches a tensor decides
    - module: '\.rotary_emb$'     # Python regex, found anywhere in the name
      direction: outputs          # inputs, outputs or post_fwd_inputs
      dtype: [bfloat16, float16]  # on either side
      slot: "0"                   # of the direction, "" for a single output
      max_rel_l2: 0.02            # also max_abs, min_cosine, rtol, atol,
                                  # max_mismatched (share beyond rtol and atol)
    - module: lm_head
      skip: true                  # not compared, listed, outside coverage
      reason: runs on another device
    - judge: default              # as without a policy

Tensors that no rule matches are judged by default. A rule that decides nothing is
an error.`

// addSuggest makes "ildiff suggest REFERENCE RUN..." part of ildiff.
func addSuggest(root *cobra.Command, stdout io.Writer) {
	var path string
	var despiteGap bool
	cmd := &cobra.Command{
		Use:     "suggest REFERENCE RUN...",
		Short:   "write a policy from runs that are known good",
		Long:    suggestLong,
		Example: "  ildiff suggest good-1 good-2 good-3 -o policy.yaml\n  ildiff good-1 new --policy policy.yaml",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return fmt.Errorf("suggest: want two sessions or more, the reference first, but got %d (see ildiff suggest --help)", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return suggest(cmd.Context(), args, path, despiteGap, stdout)
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().StringVarP(&path, "output", "o", "", "write the policy to `FILE` instead of stdout")
	cmd.Flags().BoolVar(&despiteGap, "despite-gap", false, "take runs that fail by the default rule: bounds that let their gap pass")
	root.AddCommand(cmd)
}

func suggest(ctx context.Context, dirs []string, path string, despiteGap bool, stdout io.Writer) error {
	if st, err := os.Lstat(path); path != "" && err == nil && st.Mode().IsRegular() {
		return fmt.Errorf("-o %s: exists, and suggest replaces no policy: name another file, or remove it", path)
	}
	out, err := newOutput(path, stdout)
	if err != nil {
		return err
	}
	defer out.abort()
	ref, err := foreign.Open(dirs[0])
	if err != nil {
		return err
	}
	var reports []*report.Report
	for _, dir := range dirs[1:] {
		run, err := foreign.Open(dir)
		if err != nil {
			return err
		}
		r, err := compare.SessionsContext(ctx, ref, run, compare.Options{})
		if err != nil {
			return err
		}
		if d := r.FirstDivergence; r.Verdict == report.Fail && len(r.Workloads) == 0 && !despiteGap {
			return fmt.Errorf("suggest: %s fails by the default rule (%s: %s): a policy that is drawn from it lets that pass; leave the run out, or give --despite-gap", dir, d.Key, d.Why)
		}
		reports = append(reports, r)
	}
	if err := policy.Suggest(out, reports); err != nil {
		return err
	}
	if err := out.commit(); err != nil {
		return cannotWrite(path, err)
	}
	return nil
}
