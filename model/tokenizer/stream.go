package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// Stream decodes ids one by one, for text that is printed as it is made. The
// parts together are what Decode makes of all ids, but where the ids do not
// spell valid UTF-8 the number of U+FFFD may differ.
type Stream struct {
	tok         *Tokenizer
	skipSpecial bool

	// Some ids of the past, so that decoders see what stands before a token,
	// then those whose text is not complete.
	ids    []int
	shown  int    // of ids: those whose text is out
	before string // the text of ids[:shown]
}

// Stream returns a decoder of ids that come one by one.
func (t *Tokenizer) Stream(skipSpecial bool) *Stream {
	return &Stream{tok: t, skipSpecial: skipSpecial}
}

// Next takes an id and returns the text that it completes: "" while a character
// is only begun.
func (s *Stream) Next(id int) (string, error) {
	s.ids = append(s.ids, id)
	text, err := s.tok.Decode(s.ids, s.skipSpecial)
	if err != nil {
		s.ids = s.ids[:len(s.ids)-1]
		return "", err
	}
	if strings.HasSuffix(text, string(utf8.RuneError)) && len(s.ids)-s.shown < maxPending {
		return "", nil
	}
	out := s.newPart(text)
	if out == "" {
		return "", nil // a token without text says nothing about what follows
	}
	s.ids = append(s.ids[:0], s.ids[s.shown:]...)
	s.shown = len(s.ids)
	s.before, err = s.tok.Decode(s.ids, s.skipSpecial)
	return out, err
}

// maxPending is how many ids may wait for a character to become whole; a
// character has four bytes at most.
const maxPending = 16

// Flush returns the text of the ids that are still waiting, at the end of the
// text: U+FFFD for a character that was never completed.
func (s *Stream) Flush() (string, error) {
	text, err := s.tok.Decode(s.ids, s.skipSpecial)
	out := s.newPart(text)
	s.ids, s.shown, s.before = nil, 0, ""
	return out, err
}

// newPart cuts off what is already out.
func (s *Stream) newPart(text string) string {
	n := 0
	for n < min(len(text), len(s.before)) && text[n] == s.before[n] {
		n++
	}
	for n > 0 && n < len(text) && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[n:]
}
