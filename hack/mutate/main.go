// Command mutate breaks the rules of the core one at a time, as gremlins does, and counts
// how many of these mutants the unit tests kill. It prints those that survive, and ends with
// how many mutants there were and how many percent of them were killed.
//
// A mutant that changes nothing anybody could see is listed in equivalent.txt with the
// reason, and is not counted.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

//go:embed equivalent.txt
var equivalentList string

// target is a package whose mutants are tried.
type target struct {
	folder string
	// without are the files, as regular expressions, that unit tests cannot reach.
	without []string
}

// targets are the packages in which a mistake may cost a guest.
func targets() []target {
	return []target{
		{folder: "pkg/monitor"},
		{folder: "pkg/migration"},
		{folder: "pkg/agent"},
		{folder: "controllers"},
		// The others call libvirt.
		{folder: "pkg/hypervisor/libvirt", without: []string{
			`^(aborts|call|client|dialer|events|host|hub|jobs|loop|migrate|pool|steer|workers)\.go$`,
		}},
		{folder: "pkg/xmlrewrite", without: []string{`^guestgen/`}},
	}
}

func main() {
	only := flag.String("packages", "", "the packages to try, separated by spaces; all where it is empty")
	files := flag.String("files", "", "the names of the files in them to try, separated by spaces; all where it is empty")
	tags := flag.String("tags", "", "build tags")
	profile := flag.String("widen", "", "only widen this coverage profile, as gremlins needs it")
	flag.Parse()
	if *profile != "" {
		if err := widen(*profile); err != nil {
			fmt.Fprintln(os.Stderr, "mutate:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(strings.Fields(*only), strings.Fields(*files), *tags); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(only, files []string, tags string) error {
	same, err := parseEquivalent(equivalentList)
	if err != nil {
		return err
	}
	known := targets()
	for _, folder := range only {
		if !slices.ContainsFunc(known, func(t target) bool { return t.folder == folder }) {
			return fmt.Errorf("no mutants are made of %q: give packages of hack/mutate/main.go", folder)
		}
	}
	var sum tally
	for _, t := range known {
		if len(only) > 0 && !slices.Contains(only, t.folder) {
			continue
		}
		if len(files) > 0 {
			if t.without, err = allBut(t.folder, files); err != nil {
				return err
			}
		}
		found, err := unleash(t, tags)
		if err != nil {
			return fmt.Errorf("trying the mutants of %s: %w", t.folder, err)
		}
		one := count(found, same)
		for _, m := range one.survivors {
			fmt.Println("survived:", m)
		}
		fmt.Printf("%s: %s\n", t.folder, one)
		sum.add(one)
	}
	fmt.Println("equivalent:", sum.equivalent)
	fmt.Println("not_covered:", sum.notCovered)
	fmt.Println("timed_out:", sum.timedOut)
	fmt.Println("mutants:", sum.mutants)
	fmt.Println("killed_percent:", sum.percent())
	return nil
}

// allBut returns regular expressions for the files of a folder but for some.
func allBut(folder string, files []string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || slices.Contains(files, entry.Name()) {
			return err
		}
		name, err := filepath.Rel(folder, path)
		out = append(out, "^"+regexp.QuoteMeta(name)+"$")
		return err
	})
	return out, err
}

// unleash has gremlins try the mutants of a package.
func unleash(t target, tags string) ([]mutant, error) {
	file, err := os.CreateTemp("", "mutants-*.json")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name())
	if err := file.Close(); err != nil {
		return nil, err
	}
	here, err := filepath.Abs("hack/mutate/bin")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{
		"tool", "-modfile=hack/mutation/go.mod", "gremlins", "unleash", "--tags", tags, "--output", file.Name(), "--output-statuses", "lct",
		// One at a time: a test that has to share the processors may be taken for one that hangs.
		"--workers", "1", "--timeout-coefficient", "10",
		"--invert-logical", "--invert-loopctrl", "--invert-assignments",
	}
	for _, pattern := range t.without {
		args = append(args, "--exclude-files", pattern)
	}
	cmd := exec.CommandContext(context.Background(), "go", append(args, t.folder)...)
	cmd.Env = append(os.Environ(), "PATH="+here+":"+os.Getenv("PATH"), "WIDEN="+self)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file.Name())
	if err != nil {
		return nil, err
	}
	return parseReport(text, t.folder, sourceLine)
}

// sourceLine reads a line of a file, counted from one, and whether it is in a function.
func sourceLine(path string, number int) (code string, inFunction bool, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", false, err
	}
	lines := strings.Split(string(text), "\n")
	if number < 1 || number > len(lines) {
		return "", false, fmt.Errorf("%s has no line %d", path, number)
	}
	functions, err := functionsOf(path)
	inFunction = slices.ContainsFunc(functions, func(f span) bool { return f.holdsAny([]int{number}) })
	return strings.TrimSpace(lines[number-1]), inFunction, err
}

// parseReport reads what gremlins has written about a package. It leaves out what is in no function: no test is seen to run a constant, so that
// gremlins does not try to break it.
func parseReport(text []byte, folder string, line func(string, int) (string, bool, error)) ([]mutant, error) {
	var report struct {
		Files []struct {
			FileName  string `json:"file_name"`
			Mutations []struct {
				Line   int    `json:"line"`
				Column int    `json:"column"`
				Type   string `json:"type"`
				Status string `json:"status"`
			} `json:"mutations"`
		} `json:"files"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, fmt.Errorf("reading the report of gremlins: %w", err)
	}
	if len(report.Files) == 0 {
		return nil, errors.New("gremlins has found no mutants")
	}
	var out []mutant
	for _, file := range report.Files {
		for _, m := range file.Mutations {
			path := filepath.Join(folder, file.FileName)
			code, inFunction, err := line(path, m.Line)
			if err != nil {
				return nil, err
			}
			if !inFunction {
				continue
			}
			out = append(out, mutant{path: path, line: m.Line, column: m.Column, kind: m.Type, status: m.Status, code: code})
		}
	}
	return out, nil
}
