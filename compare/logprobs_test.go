package compare

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/report"
)

// goldenLogprobs is what torch.log_softmax gives (testdata/sessions/logprobs.py).
type goldenLogprobs struct {
	Reference, Target string
	NoNext            int `json:"no_next"`
	OtherNext         int `json:"other_next"`
	All               map[string]float64
	Requests          []map[string]float64
	RunTokens         []struct {
		Position, ID int
		Log, KL      [2]float64
	} `json:"run_tokens"`
}

// figuresOf are the figures by the names that torch's have.
func figuresOf(f *report.LogprobFigures) map[string]float64 {
	return map[string]float64{
		"tokens": float64(f.Tokens), "mean_log_ratio": f.Mean, "mean_abs_log_ratio": f.MeanAbs, "max_abs_log_ratio": f.MaxAbs, "k3": f.K3,
		"kl_reference_target": f.KL[0], "kl_target_reference": f.KL[1], "max_kl_reference_target": f.MaxKL[0], "max_kl_target_reference": f.MaxKL[1],
		"mean_exp_abs_log_ratio": f.MeanExpAbs, "ess": f.ESS, "clipped": f.Clipped, "max_prob_diff": f.MaxProbDiff, "mean_prob_diff": f.MeanProbDiff,
	}
}

// Every figure is that of an independent computation, whether the sessions lay out
// their tokens alike or one is a trainer's forward over prompt and response.
func TestLogprobsGolden(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "testdata", "sessions", "logprobs.json"))
	require.NoError(t, err)
	var golden []goldenLogprobs
	require.NoError(t, json.Unmarshal(data, &golden))
	require.NotEmpty(t, golden)
	for _, g := range golden {
		t.Run(g.Reference+" "+g.Target, func(t *testing.T) {
			ref, target := open(t, g.Reference), open(t, g.Target)
			r := run(t, ref, target, Options{})
			l := r.Logprobs
			require.NotNil(t, l)
			require.Empty(t, l.Why)
			require.Equal(t, [2]int{g.NoNext, g.OtherNext}, [2]int{l.NoNext, l.OtherNext})
			near := func(want, got float64, what string) {
				require.InDelta(t, want, got, 1e-12+1e-10*math.Abs(want), what)
			}
			byPlace := map[[2]int]report.TokenLogprob{} // position and id: requests may be numbered otherwise
			for _, x := range l.Tokens {
				byPlace[[2]int{x.Position, x.ID}] = x
			}
			require.Len(t, l.Tokens, len(g.RunTokens))
			for _, w := range g.RunTokens {
				x, ok := byPlace[[2]int{w.Position, w.ID}]
				require.True(t, ok, "token %d at %d", w.ID, w.Position)
				for i := range 2 {
					near(w.Log[i], x.Log[i], "log p")
					near(w.KL[i], x.KL[i], "KL")
				}
			}
			for name, got := range figuresOf(&l.LogprobFigures) {
				near(g.All[name], got, name)
			}
			require.Len(t, l.Requests, len(g.Requests))
			for i := range g.Requests {
				for name, got := range figuresOf(&l.Requests[i].LogprobFigures) {
					near(g.Requests[i][name], got, fmt.Sprintf("request %d, %s", i, name))
				}
			}
			if l.MaxAbs > 0 {
				require.NotNil(t, l.Worst.Parts)
			}
			requireMerged(t, r, ref, target, Options{}, 3)
		})
	}
}
