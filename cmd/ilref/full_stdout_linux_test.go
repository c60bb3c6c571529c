package main

import (
	"bytes"
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/cli"
)

// TestFullStdout has every command on a full disk: what it could not say is no
// success.
func TestFullStdout(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	for _, args := range [][]string{
		{"tokenize", "a b"},
		{"detokenize", "5,6"},
		{"run", "--prompt", "x", "--max-tokens", "2"},
		{"run", "--prompt", "x", "--max-tokens", "2", "--logprobs", "2"},
		{"completion", "bash"},
		{"help"},
		{"tokenize", "--help"},
	} {
		var stderr bytes.Buffer
		require.Equal(t, cli.ExitError, run(context.Background(), args, full, &stderr), "%q", args)
		require.Contains(t, stderr.String(), "no space left on device", "%q", args)
	}
}
