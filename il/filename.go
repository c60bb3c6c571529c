package il

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

type fileKind uint8

const (
	tensorFile fileKind = iota // inputs_0_cuda_0.pt
	sideFile                   // inputs.json
	stubFile                   // inputs_0.json
)

// tempSuffix ends the names of files that are not whole yet.
const tempSuffix = ".tmp"

// fileName is what the name of a file in a call's directory says.
type fileName struct {
	kind      fileKind
	direction Direction
	slot      string
	device    string // "cuda:0"; of tensor files only
}

// parseFileName parses "<direction>[_<slot>]_<device>.pt" and
// "<direction>[_<slot>].json". The device is the last word, with its number
// where it has one: no device of torch has an underscore in its name.
func parseFileName(name string) (f fileName, ok bool) {
	if !printable(name) {
		return f, false
	}
	base, isTensor := strings.CutSuffix(name, ".pt")
	if !isTensor {
		var isJSON bool
		if base, isJSON = strings.CutSuffix(name, ".json"); !isJSON {
			return f, false
		}
	}
	rest := ""
	for _, d := range directions {
		if r, found := strings.CutPrefix(base, string(d)); found && (r == "" || r[0] == '_') {
			f.direction, rest = d, r
		}
	}
	switch {
	case f.direction == "":
		return f, false
	case !isTensor && rest == "":
		f.kind = sideFile
		return f, true
	case !isTensor:
		f.kind, f.slot = stubFile, rest[1:]
		return f, f.slot != ""
	}
	if f.slot, f.device, ok = cutDevice(rest); !ok && (rest == "" && f.direction == Outputs || numbered.MatchString(rest)) {
		f.slot, f.device, ok = strings.TrimPrefix(rest, "_"), unnamedDevice, true // the smallest layout names none
	}
	return f, ok
}

// numbered is a slot of positions alone.
var numbered = regexp.MustCompile(`^(_[0-9]+)+$`)

// unnamedDevice is the device of files whose names tell none.
const unnamedDevice = "cpu"

// printable reports whether a name is one that a module, an argument or a key
// has: text, without what a terminal would obey.
func printable(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return !strconv.IsPrint(r) })
}

// quoted quotes the names that are not plain text.
func quoted(names []string) []string {
	out := slices.Clone(names)
	for i, n := range out {
		if !printable(n) {
			out[i] = strconv.Quote(n)
		}
	}
	return out
}

// cutDevice parts "_0_1_cuda_0" into the slot "0_1" and the device "cuda:0".
func cutDevice(s string) (slot, device string, ok bool) {
	i := strings.LastIndexByte(s, '_')
	if i < 0 {
		return "", "", false
	}
	device = s[i+1:]
	if device != "" && strings.Trim(device, "0123456789") == "" {
		j := strings.LastIndexByte(s[:i], '_')
		if j < 0 {
			return "", "", false
		}
		i, device = j, s[j+1:i]+":"+device
	}
	if !deviceName.MatchString(device) {
		return "", "", false
	}
	if slot = s[:i]; slot == "" {
		return "", device, true
	}
	return slot[1:], device, slot != "_"
}

// fileBase joins a direction and a slot to the name of a file without the
// device and the extension.
func fileBase(d Direction, slot string) string {
	if slot == "" {
		return string(d)
	}
	return string(d) + "_" + slot
}

// deviceSuffix is a device as file names have it: "cuda:0" is "cuda_0".
func deviceSuffix(device string) string { return strings.ReplaceAll(device, ":", "_") }
