// Command compare-nova rewrites generated guests with this project's code and
// with OpenStack Nova's, and reports every difference and how fast each is.
//
// The guests and migrate data are within what Nova does right; where it is
// wrong, the golden files of pkg/xmlrewrite show what is done instead. Before
// the comparison both results are put into a common form; see canonical.go.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/virtferry/virtferry/pkg/xmlrewrite"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/guestgen"
)

func main() {
	cases := flag.Int("cases", 1200, "how many guests to compare; 0 compares none")
	speed := flag.Bool("speed", true, "also compare the speed")
	python := flag.String("python", "/usr/bin/python3", "the Python that has Nova")
	script := flag.String("script", "hack/compare-nova/rewrite_with_nova.py", "the script that runs Nova")
	flag.Parse()
	if err := run(*cases, *speed, *python, *script); err != nil {
		fmt.Fprintln(os.Stderr, "compare-nova:", err)
		os.Exit(1)
	}
}

var errDiffers = errors.New("the results differ")

func run(cases int, speed bool, python, script string) error {
	nova, err := startNova(python, script)
	if err != nil {
		return err
	}
	defer nova.stop()
	if speed {
		if err := compareSpeed(nova); err != nil {
			return err
		}
	}
	if cases == 0 {
		return nil
	}
	differences := 0
	for seed := range uint64(cases) {
		differs, err := compareCase(nova, seed)
		if err != nil {
			return fmt.Errorf("guest %d: %w", seed, err)
		}
		if differs {
			differences++
		}
	}
	fmt.Printf("cases: %d\ndifferences: %d\n", cases, differences)
	if differences > 0 {
		return errDiffers
	}
	return nil
}

// sizeOf varies the size of the guests.
func sizeOf(seed uint64) guestgen.Size {
	return guestgen.Size{
		Disks: int(seed % 7), Interfaces: int(seed / 7 % 5), VCPUs: 1 + int(seed/35%12),
	}
}

// compareCase compares one guest, and prints the difference if there is one.
func compareCase(nova *novaProcess, seed uint64) (bool, error) {
	c := guestgen.New(seed, sizeOf(seed))
	source := c.XML()
	plan, err := xmlrewrite.NewPlan(source, c.MigrateData(), xmlrewrite.Options{})
	if err != nil {
		return false, fmt.Errorf("ours: %w", err)
	}
	theirs, err := nova.rewrite(c, string(source), 0)
	if err != nil {
		return false, err
	}
	if theirs.Error != "" {
		return false, fmt.Errorf("nova: %s", theirs.Error)
	}
	a, err := canonical([]byte(theirs.XML))
	if err != nil {
		return false, err
	}
	b, err := canonical([]byte(plan.Apply()))
	if err != nil {
		return false, err
	}
	if diff := cmp.Diff(a, b); diff != "" {
		fmt.Printf("guest %d (-nova +ours):\n%s\n", seed, diff)
		return true, nil
	}
	return false, nil
}

func compareSpeed(nova *novaProcess) error {
	small, err := measure(nova, "small", guestgen.Small(), 60)
	if err != nil {
		return err
	}
	typical, err := measure(nova, "typical", guestgen.Typical(), 30)
	if err != nil {
		return err
	}
	huge, err := measure(nova, "huge", guestgen.Huge(), 3)
	if err != nil {
		return err
	}
	fmt.Printf("nova_speed_ratio_small: %.1f\n", small.ratio())
	fmt.Printf("nova_speed_ratio_huge: %.1f\n", huge.ratio())
	fmt.Printf("nova_speed_ratio_typical: %.1f\n", typical.ratio())
	fmt.Printf("huge_over_typical_time_per_element: %.2f\n",
		float64(huge.ours)/float64(huge.elements)/(float64(typical.ours)/float64(typical.elements)))
	return nil
}

type timing struct {
	ours, nova time.Duration
	elements   int
}

func (t timing) ratio() float64 { return float64(t.nova) / float64(t.ours) }

// rounds is how often the two sides take turns.
const rounds = 10

// measure takes the best of several runs on both sides, from XML text and
// ready migrate data to XML text. The machine may be busy: the sides take turns
// and have the same time, and the best run is the one that was disturbed least.
// Nova's runs are so long that other processes get in between; of them, the time
// on the processor counts.
func measure(nova *novaProcess, name string, size guestgen.Size, repeat int) (timing, error) {
	c := guestgen.Benchmark(size)
	source, data := string(c.XML()), c.MigrateData()
	t := timing{nova: time.Hour, ours: time.Hour, elements: countElements([]byte(source))}
	for range rounds {
		begin := time.Now()
		theirs, err := nova.rewrite(c, source, repeat)
		if err != nil {
			return timing{}, err
		}
		if theirs.Error != "" {
			return timing{}, fmt.Errorf("nova: %s", theirs.Error)
		}
		t.nova = min(t.nova, time.Duration(theirs.Nanoseconds))
		for end := time.Now().Add(time.Since(begin)); time.Now().Before(end); {
			start := time.Now()
			plan, err := xmlrewrite.NewPlan(source, data, xmlrewrite.Options{})
			if err != nil {
				return timing{}, err
			}
			plan.Apply()
			t.ours = min(t.ours, time.Since(start))
		}
	}
	fmt.Printf("%s: %d bytes, %d elements, ours %v, nova %v\n", name, len(source), t.elements, t.ours, t.nova)
	return t, nil
}

// novaProcess is a Python process that runs Nova's code.
type novaProcess struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

type novaRequest struct {
	*guestgen.Case
	XML    string `json:"xml"`
	Repeat int    `json:"repeat"`
}

type novaAnswer struct {
	XML         string `json:"xml"`
	Error       string `json:"error"`
	Nanoseconds int64  `json:"nanoseconds"`
}

func startNova(python, script string) (*novaProcess, error) {
	cmd := exec.Command(python, script)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting Nova: %w", err)
	}
	return &novaProcess{cmd: cmd, in: in, out: bufio.NewReaderSize(out, 1<<20)}, nil
}

func (n *novaProcess) stop() {
	_ = n.in.Close() // Ends the process.
	_ = n.cmd.Wait() // Its answers have all been read.
}

func (n *novaProcess) rewrite(c *guestgen.Case, source string, repeat int) (novaAnswer, error) {
	line, err := json.Marshal(novaRequest{c, source, repeat})
	if err != nil {
		return novaAnswer{}, err
	}
	if _, err := n.in.Write(append(line, '\n')); err != nil {
		return novaAnswer{}, fmt.Errorf("asking Nova: %w", err)
	}
	text, err := n.out.ReadBytes('\n')
	if err != nil {
		return novaAnswer{}, fmt.Errorf("reading Nova's answer: %w", err)
	}
	var answer novaAnswer
	err = json.Unmarshal(text, &answer)
	return answer, err
}
