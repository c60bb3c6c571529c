package render

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/topology"
)

// heatCell shows a module call, or nothing where Class is empty.
type heatCell struct {
	Class, Text string
	ID          int // of the call's rows
}

// heatColumn is a kind of module: its name, in parts between which a line may
// break, and with the modules around it.
type heatColumn struct {
	Parts []string
	Full  string
}

type heatRow struct {
	Layer int
	Cells []heatCell
}

// heatMap has a row a layer and a column a kind of module; what belongs to no
// layer stands apart.
type heatMap struct {
	Columns []heatColumn
	Rows    []heatRow
	Outside []heatOutside
}

type heatOutside struct {
	Name string
	heatCell
}

func newHeatMap(calls []*callView) heatMap {
	var h heatMap
	kinds := []string{}
	worst := map[[2]string]*callView{} // by layer and kind
	layers := []int{}
	for _, c := range calls {
		kind, ok := kindOf(c.Module)
		if !ok {
			h.Outside = append(h.Outside, heatOutside{c.Name(), newHeatCell(c)})
			continue
		}
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
		if i, ok := slices.BinarySearch(layers, c.Layer); !ok {
			layers = slices.Insert(layers, i, c.Layer)
		}
		at := [2]string{fmt.Sprint(c.Layer), kind}
		if w := worst[at]; w == nil || heatWeight(c) > heatWeight(w) {
			worst[at] = c
		}
	}
	h.Columns = heatColumns(kinds)
	for _, l := range layers {
		row := heatRow{Layer: l}
		for _, k := range kinds {
			var cell heatCell
			if c := worst[[2]string{fmt.Sprint(l), k}]; c != nil {
				cell = newHeatCell(c)
			}
			row.Cells = append(row.Cells, cell)
		}
		h.Rows = append(h.Rows, row)
	}
	return h
}

// heatWeight orders calls that share a cell.
func heatWeight(c *callView) float64 {
	w := c.gap()
	if c.Verdict == report.Fail {
		w += 1e300
	}
	return w
}

func newHeatCell(c *callView) heatCell {
	class, text := "hn", "–"
	if g := c.gap(); g >= 0 {
		class, text = c.measure.color(g), c.measure.write(g)
	}
	if c.Verdict == report.Fail {
		class += " hf"
		text += " ✗"
	}
	return heatCell{class, text, c.ID}
}

// kindOf is the module's name without the layer: what comes before "layers.N"
// is kept where it is not the usual "model".
func kindOf(module string) (kind string, ok bool) {
	p := topology.Locate(module)
	if p.Layer < 0 {
		return "", false
	}
	rel := p.Rel
	if p.IsLayer() {
		rel = "(layer)"
	}
	switch before := topology.Parent(strings.TrimSuffix(p.Prefix, ".")); before {
	case "model", "":
		return rel, true
	default:
		return before + "…" + rel, true
	}
}

// heatColumns shortens kinds to their last part where that is no other's.
func heatColumns(kinds []string) []heatColumn {
	last := func(k string) string { return k[strings.LastIndexByte(k, '.')+1:] }
	n := map[string]int{}
	for _, k := range kinds {
		n[last(k)]++
	}
	out := make([]heatColumn, len(kinds))
	for i, k := range kinds {
		name := last(k)
		if n[name] > 1 {
			name = k
		}
		out[i] = heatColumn{strings.SplitAfter(name, "_"), k}
	}
	return out
}
