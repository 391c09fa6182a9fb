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
	var r reader
	for line := range strings.Lines(string(content)) {
		r.read(line)
	}
	return r.found, nil
}

// reader goes through a page, line by line.
type reader struct {
	found   []Command
	heading string
	// inBlock is set in a console block; goesOn, where a line continues the command before
	// it; inDocument, inside the here-document of one.
	inBlock, goesOn, inDocument bool
}

func (r *reader) read(line string) {
	prompt, text, _ := strings.Cut(line, " ")
	switch {
	case strings.HasPrefix(line, "```"):
		r.inBlock = line == "```console\n"
	case !r.inBlock:
		if strings.HasPrefix(line, "#") {
			r.heading = strings.TrimSpace(text)
		}
	case r.goesOn:
		r.found[len(r.found)-1].Text += line
	case prompt == "$", prompt == "#":
		r.found = append(r.found, Command{Heading: r.heading, Text: text, AsRoot: prompt == "#"})
	}
	r.inDocument = r.inBlock && (strings.HasSuffix(line, "<<END\n") || r.inDocument && line != "END\n")
	r.goesOn = r.inDocument || r.inBlock && strings.HasSuffix(line, "\\\n")
}

// Script joins commands into a shell's script.
func Script(commands []Command) string {
	var b strings.Builder
	for _, c := range commands {
		b.WriteString(c.Text)
	}
	return b.String()
}
