//go:build linux

package lab

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// endingDir is the variable by which a process of this test is told to be one that has a lab in that directory.
const endingDir = "LAB_TEST_ENDING_DIR"

// TestAProcessEndsWithItsLab soon after it was interrupted, even if what uses the lab does not notice; and not because
// of a lab that was stopped before.
func TestAProcessEndsWithItsLab(t *testing.T) {
	if dir := os.Getenv(endingDir); dir != "" {
		beInterrupted(dir)
		return
	}
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAProcessEndsWithItsLab$")
	cmd.Env = append(os.Environ(), endingDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("it says %q, %v", line, err)
	}
	begun := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ends with %v", err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it takes %s", took)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its lab is still there: %v", err)
	}
}

// beInterrupted has two labs, one of which is stopped in order, and never ends by itself.
func beInterrupted(dir string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	before, interrupted := make(chan struct{}), make(chan struct{})
	stopped := &Lab{spawner: newSpawner(), options: Options{KeepState: true}, stopped: make(chan struct{})}
	stopped.EndWith(before, 0)
	_ = stopped.Stop()
	close(before)
	l := &Lab{dir: dir, spawner: newSpawner(), stopped: make(chan struct{})}
	l.EndWith(interrupted, 100*time.Millisecond)
	time.Sleep(2 * time.Second) // In which it would have ended because of the other.
	_, _ = os.Stdout.WriteString("ready\n")
	<-signals
	close(interrupted)
	select {}
}
