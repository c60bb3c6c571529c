package foreign

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/sidefile"
)

// mostFiles bounds the files of a dump: names are kept, and each becomes a slot.
const mostFiles = 4 << 20

// list lists a directory. Links are told by check.
func list(dir string) ([]os.DirEntry, error) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s is a file, expected a directory", dir)
	}
	var entries []os.DirEntry
	if err == nil {
		entries, err = os.ReadDir(dir)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("dump: %w", err)
	case len(entries) > mostFiles:
		return nil, fmt.Errorf("%s holds %d files, expected at most %d of a dump: dump fewer steps or modules", dir, len(entries), mostFiles)
	}
	return entries, nil
}

// check refuses what is not a regular file of the dump itself.
func check(dir string, e fs.DirEntry) error {
	path := filepath.Join(dir, e.Name())
	switch t := e.Type(); {
	case t&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a link: not followed", path)
	case t != 0:
		return fmt.Errorf("%s is not a regular file", path)
	}
	return nil
}

// readSmall reads a small file of the dump, which must be a file of its own.
func readSmall(path string, limit int64) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if err := check(filepath.Dir(path), fs.FileInfoToDirEntry(info)); err != nil {
		return nil, err
	}
	return sidefile.Read(path, limit)
}

// dirs are the directories among the entries whose names match.
func dirs(entries []os.DirEntry, match func(string) bool) []string {
	var out []string
	for _, e := range entries {
		if e.IsDir() && match(e.Name()) {
			out = append(out, e.Name())
		}
	}
	slices.SortFunc(out, il.NaturalCompare)
	return out
}

// number reads a decimal number without a sign, of at most nine digits.
func number(s string) (int, bool) {
	if s == "" || len(s) > 9 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// numbered reads "step12" as 12, with the prefix "step".
func numbered(name, prefix string) (int, bool) {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	return number(rest)
}

// isModule reports whether a name can be that of a module: text that is a name of
// a file too, so that nothing leads elsewhere when a session is written.
func isModule(name string) bool {
	return name != "" && len(name) < 240 && filepath.IsLocal(name) && !strings.ContainsAny(name, `/\`) && name != "." && printable(name) == name
}

// printable quotes a name that is not plain text.
func printable(name string) string {
	if utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return name
	}
	return strconv.Quote(name)
}

// isSlot reports whether text can be the slot of a tensor: the names of arguments
// and keys of dicts.
func isSlot(s string) bool { return s == "" || isModule(s) }

func sortedKeys[V any](m map[string]V) []string {
	return slices.SortedFunc(maps.Keys(m), il.NaturalCompare)
}

func sortedInts[V any](m map[int]V) []int { return slices.Sorted(maps.Keys(m)) }
