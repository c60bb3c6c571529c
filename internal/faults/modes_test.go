package faults

import (
	"context"
	"os"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/tensor"
)

// TestMain keeps the sessions in memory where it can: each is some hundred
// small files.
func TestMain(m *testing.M) {
	if f, err := os.CreateTemp("/dev/shm", "faults"); err == nil {
		f.Close()
		os.Remove(f.Name())
		os.Setenv("TMPDIR", "/dev/shm")
	}
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}

// mode is a way to compare: what is known beside the two sessions. right is
// the setting of a target that has no fault.
type mode struct {
	name     string
	evidence func(t *testing.T, b *Bench, right Setting, target *il.Session) compare.Evidence
}

var modes = []mode{
	{"two", func(*testing.T, *Bench, Setting, *il.Session) compare.Evidence { return compare.Evidence{} }},
	{"floor", func(t *testing.T, b *Bench, right Setting, _ *il.Session) compare.Evidence {
		switch {
		case right.plain():
			return compare.Evidence{Oracle: b.Oracle, Floor: b.Ref}
		case right.right != nil:
			return compare.Evidence{Oracle: right.right.oracle, Floor: right.right.ref}
		}
		exact := right
		exact.DType = tensor.Float64
		return compare.Evidence{Oracle: b.Session(t, exact), Floor: b.Session(t, right)}
	}},
	{"replay", func(t *testing.T, b *Bench, right Setting, target *il.Session) compare.Evidence {
		return compare.Evidence{Replay: b.Replay(t, right, target)}
	}},
}

// Replay computes the calls of a session again from its own inputs.
func (b *Bench) Replay(t *testing.T, right Setting, s *il.Session) *il.Session {
	m, done := b.model(t)
	defer done()
	cfg, opts := b.logging(t, Setting{})
	logger, err := il.NewLogger(cfg, opts)
	require.NoError(t, err)
	r, c := b.run(right, m)
	e, err := r.engine(c)
	require.NoError(t, err)
	s, notes := normalize.Canonical(s, nil, b.Config.NumKeyValueHeads)
	_, _, err = e.ReplayPart(context.Background(), s, ref.Part{Ranks: &notes}, logger, func(int, int, int, int) {})
	require.NoError(t, err)
	require.NoError(t, logger.Close())
	out, err := il.Open(logger.Dir())
	require.NoError(t, err)
	return out
}

// orders are the noise that faults are looked for under: the order of
// summation of another kernel, and the hardest there is, rounded partial sums.
var orders = []struct {
	name  string
	order func(*Run)
}{
	{"reversed", Reversed},
	{"split-K", SplitK},
}
