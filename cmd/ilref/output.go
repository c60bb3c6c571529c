package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ilref/ilref/model/tokenizer"
	"github.com/ilref/ilref/ref"
)

// textWriter writes the text of requests while it is made, a line each:
// text[0] "…". The line of the first unfinished request grows; the others wait.
type textWriter struct {
	w        io.Writer
	requests []*ref.Request
	texts    []*requestText
	current  int
	open     bool // the line of the current request has begun
}

// newTextWriter follows the requests through their Stop functions, which it
// sets. Without a tokenizer it writes nothing.
func newTextWriter(w io.Writer, tok *tokenizer.Tokenizer, requests []*ref.Request, stop []string) *textWriter {
	out := &textWriter{w: w}
	if tok == nil {
		return out
	}
	out.requests = requests
	for _, r := range requests {
		t := &requestText{stream: tok.Stream(true), stop: stop}
		out.texts = append(out.texts, t)
		r.Stop = func(r *ref.Request) bool { return t.push(r.Output[len(r.Output)-1]) }
	}
	return out
}

// flush writes what is new.
func (out *textWriter) flush() {
	for ; out.current < len(out.requests); out.current++ {
		t, finished := out.texts[out.current], out.requests[out.current].Finished()
		if !out.open {
			fmt.Fprintf(out.w, "text[%d] \"", out.current)
			out.open = true
		}
		quoted := strconv.Quote(t.next(finished))
		io.WriteString(out.w, quoted[1:len(quoted)-1])
		if !finished {
			return
		}
		io.WriteString(out.w, "\"\n")
		out.open = false
	}
}

// requestText is the text of one request, cut before the first stop text.
type requestText struct {
	stream  *tokenizer.Stream
	stop    []string
	text    string
	written int
	stopped bool
}

// push adds a token and reports whether a stop text is complete.
func (t *requestText) push(id int) bool {
	piece, err := t.stream.Next(id)
	if err != nil { // an id without text, such as one that only pads the vocabulary
		return false
	}
	t.text += piece
	for _, s := range t.stop {
		if i := strings.Index(t.text, s); i >= 0 {
			t.text, t.stopped = t.text[:i], true
		}
	}
	return t.stopped
}

// next returns the text that is new and certain: not the beginning of what may
// become a stop text, unless this is the end.
func (t *requestText) next(end bool) string {
	if end && !t.stopped {
		rest, _ := t.stream.Flush() // as in push
		t.text += rest
	}
	hold := 0
	if !end {
		for _, s := range t.stop {
			for n := min(len(s)-1, len(t.text)-t.written); n > hold; n-- {
				if strings.HasSuffix(t.text, s[:n]) {
					hold = n
				}
			}
		}
	}
	from := t.written
	t.written = max(from, len(t.text)-hold)
	return t.text[from:t.written]
}

// printRequests writes the tokens of each request, and the log-probabilities
// where they were asked for.
func (j *job) printRequests(w io.Writer) error {
	for i, r := range j.requests {
		if _, err := fmt.Fprintf(w, "tokens[%d] %s\n", i, joinIDs(r.Output)); err != nil {
			return err
		}
		for pos, list := range r.Recorded {
			fmt.Fprintf(w, "logprobs[%d][%d]", i, pos)
			for _, l := range list {
				fmt.Fprintf(w, " %d%s:%.6f", l.Token, j.quotedToken(l.Token), l.Logprob)
			}
			fmt.Fprintln(w)
		}
	}
	return nil
}

func (j *job) quotedToken(id int) string {
	if j.tokenizer == nil {
		return ""
	}
	s, err := j.tokenizer.Decode([]int{id}, false)
	if err != nil {
		return ""
	}
	return strconv.Quote(s)
}

// printChoices writes what greedy decoding would have chosen where a session
// was re-run: its own tokens decided.
func (j *job) printChoices(w io.Writer, choices []ref.SampledToken) error {
	var tokens [][]int
	for _, c := range choices {
		for c.Request >= len(tokens) {
			tokens = append(tokens, nil)
		}
		tokens[c.Request] = append(tokens[c.Request], c.Token)
	}
	for i, ids := range tokens {
		if j.tokenizer != nil {
			if text, err := j.tokenizer.Decode(ids, true); err == nil {
				fmt.Fprintf(w, "text[%d] %q\n", i, text)
			}
		}
		if _, err := fmt.Fprintf(w, "tokens[%d] %s\n", i, joinIDs(ids)); err != nil {
			return err
		}
	}
	return nil
}

func joinIDs(ids []int) string {
	s := make([]string, len(ids))
	for i, id := range ids {
		s[i] = strconv.Itoa(id)
	}
	return strings.Join(s, ",")
}
