package xmlrewrite

import (
	_ "embed"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

//go:embed hostrefs.txt
var hostRefsText string

// hostRefs returns the table of what in a domain's XML can name something of
// its host; hostrefs.txt explains it.
var hostRefs = sync.OnceValue(func() *refTable {
	t, err := parseRefTable(hostRefsText)
	if err != nil {
		panic(err) //nolint:forbidigo // The table is part of the program, and a test reads it.
	}
	return t
})

// refClass is what becomes of a place that may name something of the host.
type refClass int

const (
	refHarmless refClass = iota + 1
	refMapped
	refSame
	refBound
)

func refClassOf(name string) refClass {
	return map[string]refClass{"harmless": refHarmless, "mapped": refMapped, "same": refSame, "bound": refBound}[name]
}

const (
	refElement = ""  // Stands for the element itself among its places.
	refText    = "=" // Stands for the element's text.
	refAny     = "*" // Stands for an element of any name.
	refAll     = "**"
)

// refTable is a tree of elements. An element of a guest can stand at several of
// its nodes at once, since their conditions do not exclude each other.
type refTable struct {
	root refNode
	rows int
}

// refRow is what one line of the table says of one place.
type refRow struct {
	order int // The line that comes first decides.
	class refClass
	when  func(value string) bool // Nil if any value will do.
	what  string
	paths bool // It is refused unless the map of paths has it.
}

type refNode struct {
	edges map[string][]refEdge // By the name of the element.
	any   []refEdge            // For elements of any name.
	rows  map[string][]*refRow // By place: an attribute, refText or refElement.
	likes []refLike
	known bool // A line names the element, and not only with refAny.
	all   bool // What is inside does not matter.
}

type refEdge struct {
	text       string // As the table has it.
	conditions []refCondition
	to         *refNode
}

// refLike is an element that another one is read like.
type refLike struct {
	parent *refNode
	name   string
}

// refCondition asks for the value of an attribute, or for a child element.
type refCondition struct {
	child  string
	attr   string
	values []string
	not    bool
}

func (c *refCondition) holds(n *xmltree.Node) bool {
	if c.child != "" {
		return n.Child(c.child) != nil
	}
	return slices.Contains(c.values, n.Value(c.attr)) != c.not
}

// refState is a node of the table at which an element of the guest stands, and
// how far off: each "like" on the way is a step, and what is nearer decides.
type refState struct {
	node *refNode
	off  int
}

// statesOf appends where a child element stands, whose parent is at the states
// given. A nil child stands wherever its name does.
func statesOf(to, parent []refState, name string, child *xmltree.Node) []refState {
	from := len(to)
	for _, s := range parent {
		to = follow(to, from, s.off, s.node.edges[name], child)
		to = follow(to, from, s.off, s.node.any, child)
	}
	for i := from; i < len(to); i++ { // What is appended here is looked at, too.
		for _, like := range to[i].node.likes {
			to = follow(to, from, to[i].off+1, like.parent.edges[like.name], child)
		}
	}
	return to
}

// follow appends where these edges lead, unless the child stands there already: its
// states are those from there on.
func follow(to []refState, from, off int, edges []refEdge, child *xmltree.Node) []refState {
next:
	for i := range edges {
		e := &edges[i]
		if child != nil {
			for j := range e.conditions {
				if !e.conditions[j].holds(child) {
					continue next
				}
			}
		}
		if !slices.ContainsFunc(to[from:], func(s refState) bool { return s.node == e.to }) {
			to = append(to, refState{e.to, off})
		}
	}
	return to
}

// refRowOf returns the line that decides about a place; nil if there is none.
func refRowOf(states []refState, place, value string) *refRow {
	var best *refRow
	off := 0
	for _, s := range states {
		for _, row := range s.node.rows[place] {
			if best != nil && (s.off > off || s.off == off && row.order > best.order) {
				break
			}
			if row.when == nil || row.when(value) {
				best, off = row, s.off
				break
			}
		}
	}
	return best
}

// refTest returns what a word behind "if=" asks of a value.
func refTest(word string) (func(string) bool, bool) {
	test, ok := map[string]func(string) bool{
		"installed":        isInstalled,
		"libvirts":         isLibvirts,
		"usualNode":        isUsualNode,
		"byPath":           func(v string) bool { return strings.HasPrefix(v, "/dev/dri/by-path/") },
		"loopback":         func(v string) bool { return scopeOf(v) == scopeLoopback },
		"automatic":        func(v string) bool { return v == "" || v == "0" || v == "-1" },
		"defaultPartition": func(v string) bool { return v == "/machine" },
	}[word]
	return test, ok
}

// isUsualNode reports whether a device node is the same on every Linux host.
func isUsualNode(path string) bool {
	return isOneOf(path, "/dev/random", "/dev/urandom", "/dev/hwrng", "/dev/net/tun", "/dev/vhost-net")
}

// parseRefTable reads the table.
func parseRefTable(text string) (*refTable, error) {
	t := &refTable{}
	t.root.known = true
	for i, line := range strings.Split(text, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		if err := t.addLine(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return t, nil
}

func (t *refTable) addLine(line string) error {
	line, what, _ := strings.Cut(line, " -- ")
	words := strings.Fields(line)
	if words[0] == "like" {
		return t.addLike(words[1:])
	}
	row, words, err := parseRefRow(words, what)
	if err != nil {
		return err
	}
	row.order = t.rows
	t.rows++
	places := words[1:]
	if len(places) == 0 {
		places = []string{refElement}
	}
	for path := range expandBraces(words[0]) {
		n, err := t.root.at(path)
		if err != nil {
			return err
		}
		n.known = true
		for _, place := range places {
			if n.rows == nil {
				n.rows = make(map[string][]*refRow)
			}
			n.rows[place] = append(n.rows[place], row)
		}
	}
	return nil
}

// parseRefRow reads a line's class and test, and returns the words behind them:
// the path and the places.
func parseRefRow(words []string, what string) (*refRow, []string, error) {
	class, field, mapped := strings.Cut(words[0], ":")
	row := &refRow{class: refClassOf(class), what: what}
	row.paths = row.class == refBound && field == pathMappingsField
	tells := row.class == refSame || row.class == refBound
	if row.class == 0 || mapped != (row.class == refMapped || row.paths) || tells != (what != "") {
		return nil, nil, fmt.Errorf("this is no class, or lacks its field or text, or has one too many: %s", words[0])
	}
	words = words[1:]
	if len(words) > 0 && strings.HasPrefix(words[0], "if=") {
		var ok bool
		if row.when, ok = refTest(words[0][len("if="):]); !ok {
			return nil, nil, fmt.Errorf("there is no such test: %s", words[0])
		}
		words = words[1:]
	}
	if len(words) == 0 {
		return nil, nil, errors.New("there is no path")
	}
	return row, words, nil
}

func (t *refTable) addLike(words []string) error {
	if len(words) != 2 {
		return errors.New("like takes two paths")
	}
	i := strings.LastIndexByte(words[1], '/')
	parent, err := t.root.at(words[1][:max(i, 0)])
	if err != nil {
		return err
	}
	for path := range expandBraces(words[0]) {
		n, err := t.root.at(path)
		if err != nil {
			return err
		}
		n.known = true
		n.likes = append(n.likes, refLike{parent, words[1][i+1:]})
	}
	return nil
}

// at returns the node at the path, and makes it where there is none.
func (r *refNode) at(path string) (*refNode, error) {
	if path == "." || path == "" {
		return r, nil
	}
	step, rest, more := strings.Cut(path, "/")
	if step == refAll {
		r.all = true
		return r, nil
	}
	to, err := r.step(step)
	if err != nil || !more {
		return to, err
	}
	return to.at(rest)
}

// step returns where the edge for one step of a path leads, and makes it where there is none.
func (r *refNode) step(step string) (*refNode, error) {
	name, _, _ := strings.Cut(step, "[")
	edges := r.edges[name]
	if name == refAny {
		edges = r.any
	}
	if i := slices.IndexFunc(edges, func(e refEdge) bool { return e.text == step }); i >= 0 {
		return edges[i].to, nil
	}
	conditions, err := parseRefConditions(step[len(name):])
	if err != nil {
		return nil, err
	}
	to := &refNode{known: name != refAny}
	edges = append(edges, refEdge{step, conditions, to})
	switch {
	case name == refAny:
		r.any = edges
	case r.edges == nil:
		r.edges = map[string][]refEdge{name: edges}
	default:
		r.edges[name] = edges
	}
	return to, nil
}

func parseRefConditions(text string) ([]refCondition, error) {
	var conditions []refCondition
	for text != "" {
		inside, rest, closed := strings.Cut(text[1:], "]")
		if text[0] != '[' || !closed {
			return nil, fmt.Errorf("a condition has to be in brackets: %s", text)
		}
		text = rest
		name, values, compares := strings.Cut(inside, "=")
		if !compares {
			conditions = append(conditions, refCondition{child: name})
			continue
		}
		attr, not := strings.CutSuffix(name, "!")
		conditions = append(conditions, refCondition{attr: attr, values: strings.Split(values, "|"), not: not})
	}
	return conditions, nil
}

// expandBraces goes through the paths that there are for the choices in braces.
func expandBraces(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		before, rest, found := strings.Cut(path, "{")
		if !found {
			yield(path)
			return
		}
		choices, after, _ := strings.Cut(rest, "}")
		for choice := range strings.SplitSeq(choices, ",") {
			for path := range expandBraces(before + choice + after) {
				if !yield(path) {
					return
				}
			}
		}
	}
}
