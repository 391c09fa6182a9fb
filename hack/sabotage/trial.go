package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// simulation is the package whose test runs the worlds.
const simulation = "test/simulation"

// sabotage is a way to break the product.
type sabotage struct {
	name string
	// breaks says what goes wrong.
	breaks  string
	changes []change
}

// change is a part of a file and what takes its place. The part must occur once.
type change struct{ file, old, new string }

// texts returns the files as the sabotage has them.
func (s sabotage) texts(read func(string) ([]byte, error)) (map[string]string, error) {
	texts := map[string]string{}
	for _, c := range s.changes {
		text, known := texts[c.file]
		if !known {
			now, err := read(c.file)
			if err != nil {
				return nil, fmt.Errorf("reading what %s changes: %w", s.name, err)
			}
			text = string(now)
		}
		if n := strings.Count(text, c.old); n != 1 {
			return nil, fmt.Errorf("%s no longer fits: %s has this %d times, not once: change hack/sabotage/list.go to fit it:\n%s", s.name, c.file, n, c.old)
		}
		texts[c.file] = strings.Replace(text, c.old, c.new, 1)
	}
	return texts, nil
}

// trial is how sabotages are tried.
type trial struct {
	tags  string
	seeds int
	first uint64
	limit time.Duration
}

// try returns which promise was seen to be broken, or nothing.
func (t trial) try(s sabotage) (string, error) {
	dir, err := os.MkdirTemp("", "sabotage-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "simulation.test")
	if err := t.build(s, dir, program); err != nil {
		return "", err
	}
	cmd := exec.Command(program, "-test.run", "^TestSimulation$", "-test.timeout", t.limit.String(), "-once", "-stop",
		"-seeds", strconv.Itoa(t.seeds), "-first", strconv.FormatUint(t.first, 10))
	cmd.Dir = simulation
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "", nil
	}
	if _, ran := errors.AsType[*exec.ExitError](err); !ran {
		return "", err
	}
	return noticed(out)
}

// noticed returns the line that says which promise was broken. A simulation that fails
// without one has not noticed the sabotage, but broken down.
func noticed(out []byte) (string, error) {
	for line := range bytes.Lines(out) {
		if _, broken, ok := strings.Cut(string(line), ": seed "); ok {
			return "seed " + strings.TrimSpace(broken), nil
		}
	}
	return "", fmt.Errorf("the simulation fails without a broken promise: %s", out[max(0, len(out)-4000):])
}

// build builds the simulation with the product as the sabotage has it.
func (t trial) build(s sabotage, dir, program string) error {
	texts, err := s.texts(os.ReadFile)
	if err != nil {
		return err
	}
	replaced := map[string]string{}
	for file, text := range texts {
		path, err := filepath.Abs(file)
		if err != nil {
			return err
		}
		replaced[path] = filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(replaced[path], []byte(text), 0o600); err != nil {
			return err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		return err
	}
	cmd := exec.Command("go", "test", "-c", "-vet=off", "-tags", t.tags, "-overlay", path, "-o", program, "./"+simulation)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the simulation: %w: %s", err, out)
	}
	return nil
}
