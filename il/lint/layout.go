package lint

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/internal/plural"
)

const callsFile = "module_calls.txt"

func stepDir(s *il.Session, st *il.Step) string {
	return filepath.Join(s.Dir, "step_"+strconv.Itoa(st.Number))
}

// layout holds module_calls.txt against the directories, and passes on what
// the reader found odd.
func (l *linter) layout() {
	l.readerWarnings()
	var lists []callList
	for _, s := range l.steps {
		for _, c := range s.calls {
			if _, err := os.Stat(c.Dir); err != nil {
				c.noDir = true
			}
		}
		list := readCallList(s)
		if list.lines != nil {
			lists = append(lists, list)
		}
	}
	l.repeatedLines(lists)
}

// notes are the reader's warnings by what they say; rule "" marks those that a
// check here reports in its own words.
var notes = []struct {
	says     string
	severity Severity
	rule     string
}{
	{"but without a directory", "", ""},
	{"taken as the last calls", "", ""},
	{provenance.FileName, Warning, "provenance"},
	{provenance.BatchesName, Warning, "provenance"},
	{"no step has a " + callsFile, Warning, "old-logger"},
	{"has no " + callsFile, Warning, "no-call-list"},
	{"ends within a line", Warning, "cut-call-list"},
	{"left by a run that is still going", Warning, "unfinished-files"},
	{"not a file of a session, ignored", Info, "foreign-files"},
	{"not a step of a session, ignored", Info, "foreign-files"},
	{"not a module's directory, ignored", Info, "foreign-files"},
	{"is a link out of the session", Error, "outside-link"},
	{"is a broken link", Error, "broken-link"},
	{"is not a regular file", Error, "not-a-file"},
	{"recorded by ", Info, "dump"},
	{"its forward is missing", Error, "unreadable-file"},
	{"its request is missing", Error, "unreadable-file"},
	{"left out", Info, "dump"},
	{"not a file of the dump, ignored", Info, "foreign-files"},
}

func (l *linter) readerWarnings() {
	own := map[string]bool{} // said at the tensor or the stub
	for f := range l.each {
		if f.err != nil {
			own[f.err.Error()] = true
		}
	}
	for _, s := range l.steps {
		for _, c := range s.calls {
			for _, slot := range c.Slots {
				if slot.Stub != nil {
					own[slot.Stub.Reason] = true
				}
			}
		}
	}
	for _, w := range l.session.Warnings {
		severity, rule := Warning, "odd-file"
		for _, n := range notes {
			if strings.Contains(w, n.says) {
				severity, rule = n.severity, n.rule
				break
			}
		}
		s := l.stepOf(w)
		if rule == "" || own[w] || s != nil && len(s.calls) == 0 && rule == "no-call-list" {
			continue
		}
		x := Finding{Severity: severity, Rule: rule, Step: -1, Message: w}
		if s != nil {
			x.Step = s.number
		}
		l.put(x, -1)
	}
}

// stepOf finds the step whose directory a message begins with, or nil.
func (l *linter) stepOf(message string) *stepFacts {
	for _, s := range l.steps {
		if rest, ok := strings.CutPrefix(message, s.dir); ok && rest != "" && strings.ContainsRune(" :/\\", rune(rest[0])) {
			return s
		}
	}
	return nil
}

// callList is the text of one module_calls.txt.
type callList struct {
	step  *stepFacts
	lines []string
	times map[string]int
}

// readCallList reads the whole lines of a step's list; the reader has refused
// what is not a small file.
func readCallList(s *stepFacts) callList {
	list := callList{step: s, times: map[string]int{}}
	data, err := os.ReadFile(filepath.Join(s.dir, callsFile))
	if err != nil {
		return list
	}
	list.lines = []string{}
	for line := range strings.Lines(string(data)) {
		if name := strings.TrimRight(line, "\r\n"); name != "" {
			list.lines = append(list.lines, name)
			list.times[name]++
		}
	}
	return list
}

// repeatedLines tells ranks, which write a line each, from a second run into
// the same directory, and lists calls without directories and the other way.
func (l *linter) repeatedLines(lists []callList) {
	spare := 0 // lines more than ranks, the same for all calls
	uniform := true
	for _, list := range lists {
		var uneven []*callFacts
		again := list.again()
		for _, c := range list.step.calls {
			n, ranks := list.times[filepath.Base(c.Dir)], c.ranks()
			switch {
			case n == 0 && !c.noDir:
				l.unlisted(c)
			case n > 0 && c.noDir && !(c.step.last && c.order == len(c.step.calls)-1):
				l.add(Warning, "call-without-directory", c, nil, "%s is listed in %s of step %d, but has no directory: its files have gone, or empty directories were not copied", c.name(), callsFile, c.step.number)
			case n == ranks || ranks == 0:
			case n > max(ranks, 1) && again:
				uneven = append(uneven, c)
			case n > ranks:
				if spare != 0 && spare != n-ranks {
					uniform = false
				}
				spare = n - ranks
			default:
				uneven = append(uneven, c)
			}
		}
		if len(uneven) == 0 {
			continue
		}
		if c := uneven[0]; again {
			l.addStep(Warning, "repeated-run", list.step.number, "%s of step %d holds its list of calls %d times over: two runs wrote into one directory and files of both may be mixed; record again into an empty directory",
				callsFile, list.step.number, list.times[filepath.Base(c.Dir)])
		} else {
			l.addStep(Warning, "uneven-call-list", list.step.number, "%s of step %d lists %s %d times, but %s wrote tensors: a rank stopped early, or lines have gone",
				callsFile, list.step.number, c.name(), list.times[filepath.Base(c.Dir)], plural.Count(c.ranks(), "rank"))
		}
	}
	if spare > 0 && uniform {
		l.addSession(Info, "silent-ranks", "%s lists every call %s more than there are tensors of it: device_names left out %s", callsFile, times(spare), plural.Count(spare, "rank"))
	} else if spare > 0 {
		l.addSession(Warning, "uneven-call-list", "%s lists calls up to %s more than there are ranks, and not all equally often: two runs may have written into one directory; record again into an empty one", callsFile, times(spare))
	}
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// again reports whether the list starts over after its end: ranks run side by
// side, so that their lines interleave.
func (c callList) again() bool {
	n := len(c.lines)
	if n < 4 { // too short to tell
		return false
	}
	seen := map[string]bool{}
	fresh := 0
	for _, name := range c.lines {
		if seen[name] {
			break
		}
		seen[name] = true
		fresh++
	}
	return fresh < n && fresh == len(c.times) && slices.Equal(c.lines[:fresh], c.lines[fresh:min(2*fresh, n)])
}

// ranks is the number of devices that a call holds tensors of.
func (c *callFacts) ranks() int {
	n := 0
	for _, s := range c.Slots {
		n = max(n, len(s.Tensors))
	}
	return n
}

// unlisted reports a directory that the list lacks, but for the half calls
// that the GPU logger's own filter makes.
func (l *linter) unlisted(c *callFacts) {
	if c.quirk {
		return // see filterQuirks
	}
	l.add(Warning, "unlisted-call", c, nil, "%s has a directory, but no line in %s of step %d: it may be of another run; it is taken as one of the last calls", c.name(), callsFile, c.step.number)
}
