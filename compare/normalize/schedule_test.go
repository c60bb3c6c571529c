package normalize

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// text is a request: its tokens, of which the first are the prompt. The last is
// never run.
type text struct {
	ids    []int
	prompt int
}

// schedule is how an engine runs texts.
type schedule struct {
	arrive []int // the step that each begins in
	cached []int // tokens of each that come from a prefix cache
	chunk  int   // rows of a prompt in a step at most
	drafts int   // draft tokens of a decode step; 0 for none
}

// plan runs the texts: those that run go before those that arrive. accept tells how
// many of so many draft tokens are accepted.
func (s schedule) plan(texts []text, accept func(of int) int) *requests.Plan {
	p := &requests.Plan{Dir: "memory"}
	at := slices.Clone(s.cached)
	var order []int
	requestOf := map[int]int{}
	for step, idle := 0, 0; ; step++ {
		for i, a := range s.arrive {
			if a == step+idle {
				order = append(order, i)
			}
		}
		st := requests.Step{Number: step}
		for _, i := range order {
			x := texts[i]
			left := len(x.ids) - 1 - at[i]
			if left <= 0 {
				continue
			}
			if _, begun := requestOf[i]; !begun {
				requestOf[i] = len(requestOf)
			}
			c := requests.Chunk{Request: requestOf[i], Start: at[i], Sample: true}
			switch {
			case at[i] < x.prompt:
				n := min(s.chunk, x.prompt-at[i])
				c.IDs = slices.Clone(x.ids[at[i] : at[i]+n])
				at[i] += n
			default:
				k := min(s.drafts, left-1)
				good := accept(k)
				c.IDs = slices.Clone(x.ids[at[i] : at[i]+1+good])
				for n := good; n < k; n++ {
					c.IDs = append(c.IDs, 7000+(x.ids[at[i]+1+n]+n)%50)
				}
				c.Drafts, c.Rejected = k, k-good
				at[i] += 1 + good
			}
			st.Chunks = append(st.Chunks, c)
		}
		switch {
		case len(st.Chunks) > 0:
			p.Steps = append(p.Steps, st)
		case step+idle > slices.Max(s.arrive):
			return p
		default: // a forward of nothing is no step
			step, idle = step-1, idle+1
		}
	}
}

// record is the session of a plan: each row holds a number that its tokens so
// far, from position 0 on, give it alone.
func record(p *requests.Plan, whole map[int][]int) *il.Session {
	var steps []*il.Step
	last := []float64(nil)
	held := func(v []float64) *il.TensorFile {
		x := tensor.New(tensor.Float64, len(v), 1)
		tensor.StoreFloat64(x.Data, tensor.Float64, v)
		return held("cuda:0", x)
	}
	logits := func() *il.Call {
		return &il.Call{Module: topology.LogitsProcessorName, Slots: []*il.Slot{slotOf(il.Inputs, "1", held(last)), slotOf(il.Outputs, "", held(last))}}
	}
	number := 0
	for _, st := range p.Steps {
		out := &il.Step{Number: st.Number}
		if last != nil && st.Number == number+1 {
			out.Calls = append(out.Calls, logits())
		}
		var ids, positions []int
		var values []float64
		last, number = nil, st.Number
		for _, c := range st.Chunks {
			sum := 0.0
			for i, id := range whole[c.Request][:c.Start] {
				sum += float64((i + 1) * (i + 3) * id)
			}
			for i, id := range c.IDs {
				sum += float64((c.Start + i + 1) * (c.Start + i + 3) * id)
				ids, positions, values = append(ids, id), append(positions, c.Start+i), append(values, sum)
				if i >= len(c.IDs)-1-c.Drafts {
					last = append(last, sum)
				}
			}
		}
		out.Calls = append(out.Calls,
			&il.Call{Module: topology.EmbedTokensName, Slots: []*il.Slot{slotOf(il.Inputs, "0", ints(ids)), slotOf(il.Outputs, "", held(values))}},
			&il.Call{Module: topology.InLayer(0, ""), Slots: []*il.Slot{slotOf(il.Inputs, "0", ints(positions)), slotOf(il.Outputs, "0", held(values))}})
		steps = append(steps, out)
	}
	steps = append(steps, &il.Step{Number: number + 1, Calls: []*il.Call{logits()}})
	return sessionOf(steps...)
}

func ints(v []int) *il.TensorFile { return held("cuda:0", tensor.FromInts(tensor.Int64, v, len(v))) }

// drawTexts draws requests of unequal lengths, for of equal ones nothing tells
// which goes on when one has ended.
func drawTexts(r *rand.Rand) []text {
	var texts []text
	for i := range 1 + r.IntN(3) {
		prompt := 32*i + 5 + r.IntN(8)
		ids := []int{1}
		for range prompt + 1 + r.IntN(8) {
			ids = append(ids, 2+r.IntN(900))
		}
		texts = append(texts, text{ids, prompt})
	}
	return texts
}

// drawSchedule draws how an engine runs texts. The last chunk of a prompt is
// longer than draft tokens are, which it could not be told from.
func drawSchedule(r *rand.Rand, texts []text) schedule {
	s := schedule{chunk: []int{7, 16, 1000}[r.IntN(3)], drafts: r.IntN(4)}
	for _, x := range texts {
		hit := r.IntN(2) * ((x.prompt - 1) / 16 * 16)
		if rest := (x.prompt - hit) % s.chunk; 0 < rest && rest <= s.drafts+1 {
			s.drafts = 0
		}
		s.arrive, s.cached = append(s.arrive, r.IntN(4)), append(s.cached, hit)
	}
	return s
}

// Whatever an engine's schedule, a session is read back as what it ran, and its
// rows are lined up with those of another run of the same tokens. Of 6,000
// schedules drawn in this way 2 are read otherwise: the length at which a
// request ended lies in a chunk of another, and the logits fit both readings.
func TestSchedules(t *testing.T) {
	for trial := range 300 {
		t.Run(fmt.Sprint(trial), func(t *testing.T) {
			r := rand.New(rand.NewPCG(14, uint64(trial)))
			texts := drawTexts(r)
			var sessions [2]*il.Session
			var shown string
			for i := range sessions {
				s := schedule{chunk: 1000, arrive: make([]int, len(texts)), cached: make([]int, len(texts))}
				if i > 0 || r.IntN(2) > 0 {
					s = drawSchedule(r, texts)
				}
				p := s.plan(texts, func(of int) int { return r.IntN(of + 1) })
				shown += fmt.Sprintf("session %d\n%s", i, show(p))
				sessions[i] = record(p, s.texts(texts))
				readBack(t, p, sessions[i])
			}
			for _, x := range [][2]*il.Session{sessions, {sessions[1], sessions[0]}} {
				a, b, notes := Align(x[0], x[1])
				require.Equal(t, slots(a), slots(b), "%v\n%s", notes.Warnings, shown)
				require.Equal(t, len(slots(a)), equal(t, a, b), shown)
			}
		})
	}
}

// texts are the tokens of every request of the schedule's plan.
func (s schedule) texts(texts []text) map[int][]int {
	whole := map[int][]int{}
	for step := range slices.Max(s.arrive) + 1 {
		for i, x := range texts {
			if s.arrive[i] == step {
				whole[len(whole)] = x.ids
			}
		}
	}
	return whole
}

// readBack requires that a session is read as what it ran, but for the last draft
// tokens of a request, of which no later step tells.
func readBack(t *testing.T, p *requests.Plan, s *il.Session) {
	got, err := requests.ReadRows(s)
	require.NoError(t, err, show(p))
	settled := map[int]bool{}
	for i := len(p.Steps) - 1; i >= 0; i-- {
		for k := range p.Steps[i].Chunks {
			c := &p.Steps[i].Chunks[k]
			if !settled[c.Request] {
				settled[c.Request], c.Rejected = true, 0
			}
		}
	}
	for i := range p.Steps {
		require.Equal(t, p.Steps[i].Chunks, got.Steps[i].Chunks, "step %d of\n%s\nread as\n%s", i, show(p), show(got))
	}
}

// show writes a plan.
func show(p *requests.Plan) string {
	var out string
	for _, st := range p.Steps {
		out += fmt.Sprintf("step %d:", st.Number)
		for _, c := range st.Chunks {
			out += fmt.Sprintf(" r%d [%d..%d]", c.Request, c.Start, c.Start+len(c.IDs)-1)
			if c.Drafts > 0 {
				out += fmt.Sprintf(" drafts %d, rejected %d", c.Drafts, c.Rejected)
			}
		}
		out += "\n"
	}
	return out
}
