// Package documented reads what a page of the documentation has its reader type, for tests
// that type it.
package documented

import (
	"fmt"
	"os"
	"strings"
)

// Command is one that a page has its reader type.
type Command struct {
	// Heading is what it stands below.
	Heading string
	// Text is the command without its prompt. It ends with a line break, and has several
	// where the command goes on in the next line.
	Text string
	// AsRoot is set where the prompt is root's.
	AsRoot bool
}

// Commands returns the commands in a page's console blocks, in their order. The error is
// that of reading the page.
func Commands(page string) ([]Command, error) {
	content, err := os.ReadFile(page)
	if err != nil {
		return nil, fmt.Errorf("reading the documentation: %w", err)
	}
	var all []Command
	var heading string
	inBlock, goesOn, inDocument := false, false, false
	for line := range strings.Lines(string(content)) {
		switch prompt, text, _ := strings.Cut(line, " "); {
		case strings.HasPrefix(line, "```"):
			inBlock = line == "```console\n"
		case !inBlock && strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(text)
		case inBlock && goesOn:
			all[len(all)-1].Text += line
		case inBlock && (prompt == "$" || prompt == "#"):
			all = append(all, Command{Heading: heading, Text: text, AsRoot: prompt == "#"})
		}
		inDocument = inBlock && (strings.HasSuffix(line, "<<END\n") || inDocument && line != "END\n")
		goesOn = inDocument || inBlock && strings.HasSuffix(line, "\\\n")
	}
	return all, nil
}

// Script joins commands into a shell's script.
func Script(commands []Command) string {
	var b strings.Builder
	for _, c := range commands {
		b.WriteString(c.Text)
	}
	return b.String()
}
