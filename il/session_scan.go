package il

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/internal/sidefile"
	"github.com/ilref/ilref/internal/workers"
)

// maxCallsFile bounds module_calls.txt, which is read whole, and of which every
// line becomes a call: the largest models have some thousand calls a step and rank,
// 100 KB.
const maxCallsFile = 4 << 20

// maxAbsent bounds the calls of a session that are listed and have no directory:
// each costs its list one line, and whoever reads the session a call.
const maxAbsent = 1 << 17

// scanner reads the directories of one session.
type scanner struct {
	dir      string
	real     string // dir without links: what files must lie below
	json     bool   // a side file was seen
	absent   int    // calls that are listed and have no directory
	warnings []string
}

// rawStep is a step as it lies on disk.
type rawStep struct {
	number int
	name   string
	dirs   map[string]bool
	listed []string // the lines of module_calls.txt, each once
	hasTxt bool
}

func scanSession(dir string) (*Session, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	sc := &scanner{dir: dir, real: real}
	steps, err := sc.steps()
	if err != nil {
		return nil, err
	}
	s := &Session{Dir: dir, calls: map[callKey]*Call{}}
	names, listed := namesOf(steps)
	for _, raw := range steps {
		step := &Step{Number: raw.number}
		if step.Calls, err = sc.readCalls(raw, sc.order(raw, listed), names); err != nil {
			return nil, err
		}
		for _, call := range step.Calls {
			s.calls[callKey{raw.number, call.Module, call.Index}] = call
		}
		s.Steps = append(s.Steps, step)
	}
	s.Variant = VariantB
	if sc.json {
		s.Variant = VariantA
	}
	if !listed {
		sc.withoutLists(s)
	}
	if s.Variant != VariantB { // whose calls leave a folder alone where they have no tensors
		for _, call := range s.calls {
			call.leavesTrace = true
		}
	}
	s.Warnings = sc.warnings
	s.readProvenance(sc)
	s.splitForwards()
	s.checkLag()
	s.unfinished = sc.unfinished(steps, listed, s.made)
	return s, nil
}

// unfinished tells of a last step that is still being written.
func (sc *scanner) unfinished(steps []*rawStep, listed bool, made *provenance.Record) string {
	if n := len(steps); listed && n > 0 && !steps[n-1].hasTxt {
		return fmt.Sprintf("%s, the last step, has no %s, as others have: the run is still going, or died; wait for its end, or leave out the step",
			filepath.Join(sc.dir, steps[n-1].name), callsFile)
	}
	if made != nil && made.Status != provenance.Complete && made.Status != "" {
		why := ""
		if made.Reason != "" {
			why = fmt.Sprintf(" (%s)", short(made.Reason))
		}
		way := "record it again"
		if made.Status == provenance.Recording {
			way = "wait for its end, or " + way
		}
		return fmt.Sprintf("its %s says that the run is %s%s: %s", provenance.FileName, made.Status, why, way)
	}
	return ""
}

// atOnce is how many directories are read at the same time: a disk answers many
// questions as fast as one.
const atOnce = 16

// readCalls reads the directories of a step's calls.
func (sc *scanner) readCalls(raw *rawStep, names []string, all map[string]bool) ([]*Call, error) {
	calls, scanners, errs := make([]*Call, len(names)), make([]scanner, len(names)), make([]error, len(names))
	workers.Each(atOnce, len(names), func(i int) {
		scanners[i] = scanner{dir: sc.dir, real: sc.real}
		calls[i], errs[i] = scanners[i].call(raw, names[i], all)
		if i < len(raw.listed) && calls[i] != nil {
			calls[i].listed = true
		}
	})
	for i := range names {
		if errs[i] != nil {
			return nil, errs[i]
		}
		sc.json = sc.json || scanners[i].json
		sc.warnings = append(sc.warnings, scanners[i].warnings...)
	}
	return calls, nil
}

// withoutLists tells variant C from a session that lost its lists.
func (sc *scanner) withoutLists(s *Session) {
	const order = "calls are in natural order of their names"
	if !s.countsFromOne() {
		sc.warn("no step has a %s, though inputs lie as the later loggers write them: %s", callsFile, order)
		return
	}
	s.Variant = VariantC
	if n := s.putInputsRight(); n > 0 {
		sc.warn("no step has a %s, as with the oldest logger: %s; the inputs of %d calls, which it wrote to the directory of the call before, "+
			"are put right, and those of the first call of a module that is called again are lost", callsFile, order, n)
		return
	}
	sc.warn("no step has a %s, as with the oldest logger: %s", callsFile, order)
}

func (sc *scanner) warn(format string, args ...any) {
	sc.warnings = append(sc.warnings, fmt.Sprintf(format, args...))
}

// warnNames warns of things in a directory, once for all of them.
func (sc *scanner) warnNames(where string, names []string, what string) {
	if len(names) > 0 {
		sc.warn("%s: %s: %s", where, what, plural.First(quoted(names), 5))
	}
}

// steps reads the top directory and the list of calls of every step.
func (sc *scanner) steps() ([]*rawStep, error) {
	entries, err := readDir(sc.dir)
	if err != nil {
		return nil, err
	}
	var steps []*rawStep
	var odd []string
	for _, e := range entries {
		n, ok := stepNumber(e.Name())
		if ok {
			ok = sc.isDir(sc.dir, e)
		}
		if !ok {
			if !isProvenance(e) {
				odd = append(odd, e.Name())
			}
			continue
		}
		raw, err := sc.step(e.Name())
		if err != nil {
			return nil, err
		}
		raw.number = n
		steps = append(steps, raw)
	}
	sc.warnNames(sc.dir, odd, "not a step of a session, ignored")
	slices.SortFunc(steps, func(a, b *rawStep) int { return a.number - b.number })
	return steps, nil
}

// step reads one step's directory.
func (sc *scanner) step(name string) (*rawStep, error) {
	path := filepath.Join(sc.dir, name)
	entries, err := readDir(path)
	if err != nil {
		return nil, err
	}
	raw := &rawStep{name: name, dirs: map[string]bool{}}
	var odd []string
	for _, e := range entries {
		switch {
		case e.Name() == callsFile:
			if raw.listed, err = sc.readList(path, e); err != nil {
				return nil, err
			}
			raw.hasTxt = true
		case !strings.HasPrefix(e.Name(), ".") && printable(e.Name()) && sc.isDir(path, e):
			raw.dirs[e.Name()] = true
		default:
			odd = append(odd, e.Name())
		}
	}
	sc.warnNames(path, odd, "not a module's directory, ignored")
	for _, name := range raw.listed {
		if !raw.dirs[name] {
			sc.absent++
		}
	}
	if sc.absent > maxAbsent {
		return nil, fmt.Errorf("%s: the lists of calls up to this one name %d without a directory, expected at most %d: it is not what a logger writes, or the directories are lost; record again",
			filepath.Join(path, callsFile), sc.absent, maxAbsent)
	}
	return raw, nil
}

const callsFile = "module_calls.txt"

// readList returns the lines of a module_calls.txt, each once: ranks write
// them one after the other.
func (sc *scanner) readList(dir string, e fs.DirEntry) ([]string, error) {
	path := filepath.Join(dir, e.Name())
	if err := sc.check(path, e); err != nil {
		return nil, err
	}
	data, err := sidefile.Read(path, maxCallsFile)
	if err != nil {
		return nil, err
	}
	var lines, odd []string
	seen := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		name := strings.TrimRight(line, "\r\n")
		switch {
		case name == "" || seen[name]:
			continue
		case !strings.HasSuffix(line, "\n"):
			sc.warn("%s ends within a line (%q): the run that wrote it is still going, or died", path, name)
			if _, err := os.Lstat(filepath.Join(dir, filepath.Base(name))); err != nil {
				continue // not the whole name
			}
		}
		seen[name] = true
		if !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) || name == "." || !printable(name) {
			odd = append(odd, strconv.Quote(name))
			continue
		}
		lines = append(lines, name)
	}
	sc.warnNames(path, odd, "not the name of a module, ignored")
	return lines, nil
}

// order returns the names of a step's calls in execution order. Directories
// that are not listed come last. listed tells whether any step has a list.
func (sc *scanner) order(raw *rawStep, listed bool) []string {
	where := filepath.Join(sc.dir, raw.name)
	var absent []string
	rest := map[string]bool{}
	for name := range raw.dirs {
		rest[name] = true
	}
	for _, name := range raw.listed {
		if !raw.dirs[name] {
			absent = append(absent, name)
		}
		delete(rest, name)
	}
	unlisted := slices.Collect(maps.Keys(rest))
	slices.SortFunc(unlisted, NaturalCompare)
	sc.warnNames(where, absent, "listed in "+callsFile+", but without a directory")
	switch {
	case raw.hasTxt:
		sc.warnNames(where, unlisted, "not listed in "+callsFile+", taken as the last calls")
	case listed:
		sc.warn("%s has no %s: its calls are in natural order of their names", where, callsFile)
	}
	return append(slices.Clone(raw.listed), unlisted...)
}

// isDir reports whether an entry is a directory, or a link to one within the
// session. A link that leads out of it gets a warning.
func (sc *scanner) isDir(parent string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	path := filepath.Join(parent, e.Name())
	if err := sc.check(path, e); err != nil {
		sc.warn("%v", err)
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// check refuses links that lead out of the session.
func (sc *scanner) check(path string, e fs.DirEntry) error {
	if e.Type()&fs.ModeSymlink == 0 {
		return nil
	}
	to, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("%s is a broken link: %w", path, err)
	}
	if rel, err := filepath.Rel(sc.real, to); err != nil || !filepath.IsLocal(rel) {
		return fmt.Errorf("%s is a link out of the session, to %s: not followed", path, to)
	}
	return nil
}

// stepNumber parses "step_N".
func stepNumber(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, "step_")
	if !ok || !plainNumber(digits) {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil
}

// plainNumber reports whether s is a decimal number as str() writes it.
func plainNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == "" && (s == "0" || s[0] != '0')
}
