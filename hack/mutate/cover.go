package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
)

// modulePath begins the names of files in a coverage profile.
const modulePath = "github.com/virtferry/virtferry/"

// widen adds each function that a test runs as a whole to a coverage profile: the conditions
// of a switch's cases are in no block of a profile, so that gremlins would take them for
// what no test runs.
func widen(profile string) error {
	text, err := os.ReadFile(profile)
	if err != nil {
		return err
	}
	blocks, err := parseProfile(string(text))
	if err != nil {
		return err
	}
	var out strings.Builder
	out.WriteString(strings.TrimRight(string(text), "\n") + "\n")
	for name, ran := range blocks {
		functions, err := functionsOf(strings.TrimPrefix(name, modulePath))
		if err != nil {
			return err
		}
		for _, f := range functions {
			if f.holdsAny(ran) {
				fmt.Fprintf(&out, "%s:%d.%d,%d.%d 1 1\n", name, f.from.Line, f.from.Column, f.to.Line, f.to.Column)
			}
		}
	}
	return os.WriteFile(profile, []byte(out.String()), 0o600)
}

// span is a part of a file.
type span struct{ from, to token.Position }

func (s span) holdsAny(lines []int) bool {
	for _, line := range lines {
		if s.from.Line <= line && line <= s.to.Line {
			return true
		}
	}
	return false
}

// parseProfile returns on which lines of each file blocks begin that were run.
func parseProfile(text string) (map[string][]int, error) {
	ran := map[string][]int{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "mode:") {
			continue
		}
		name, block, _ := strings.Cut(line, ":")
		var fromLine, fromColumn, toLine, toColumn, statements, count int
		if _, err := fmt.Sscanf(block, "%d.%d,%d.%d %d %d", &fromLine, &fromColumn, &toLine, &toColumn, &statements, &count); err != nil {
			return nil, fmt.Errorf("reading the coverage profile: %q: %w", line, err)
		}
		if count > 0 {
			ran[name] = append(ran[name], fromLine)
		}
	}
	return ran, nil
}

// functionsOf returns where a file's functions are.
func functionsOf(path string) ([]span, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var out []span
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			out = append(out, span{set.Position(f.Pos()), set.Position(f.End())})
		}
	}
	return out, nil
}
