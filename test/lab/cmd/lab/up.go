//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// pollInterval is how often up and down look at the serving process.
const pollInterval = 50 * time.Millisecond

// up starts a lab in the background, shows its progress, and says how to use it.
// When interrupted it takes the lab back. A lab that runs already is shown.
func up(ctx context.Context, c config) error {
	if r, err := readRecord(c.name); err == nil && r.alive() {
		fmt.Printf("The lab runs already, as process %d.\n", r.PID)
		r.explain(os.Stdout)
		return nil
	}
	log, err := os.OpenFile(logPath(c.name), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	defer log.Close()
	server, err := startServer(c, log.Name())
	if err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- server.Wait() }()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case err := <-exited:
			_, _ = io.Copy(os.Stderr, log)
			return fmt.Errorf("the lab did not start (%w); its log is %s", err, log.Name())
		case <-ctx.Done():
			_ = server.Process.Signal(syscall.SIGTERM) // It fails only when the process has ended.
			<-exited                                   //nolint:errcheck // It was told to end.
			_, _ = io.Copy(os.Stderr, log)
			return ctx.Err()
		case <-ticker.C:
		}
		_, _ = io.Copy(os.Stderr, log) // Progress is a courtesy.
		if r, err := readRecord(c.name); err == nil && r.PID == server.Process.Pid {
			r.explain(os.Stdout)
			return nil
		}
	}
}

// startServer starts "lab serve" in a session of its own, so that it survives the
// terminal and does not see its Ctrl-C.
func startServer(c config, logPath string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	out, err := os.OpenFile(logPath, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(self, append([]string{"serve"}, c.flags()...)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the lab: %w", err)
	}
	return cmd, nil
}

// down stops a lab and waits until it is gone. That there is none is no error.
func down(ctx context.Context, c config) error {
	r, err := readRecord(c.name)
	if errors.Is(err, os.ErrNotExist) {
		fmt.Println("No lab is up.")
		return nil
	}
	if err != nil {
		return err
	}
	if !r.alive() {
		r.remove()
		fmt.Println("No lab is up: its process has ended.")
		return nil
	}
	if err := r.terminate(); err != nil {
		return err
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for r.alive() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for process %d to end: %w", r.PID, ctx.Err())
		case <-ticker.C:
		}
	}
	_ = os.Remove(logPath(c.name)) // It tells nothing any more.
	fmt.Println("The lab is down.")
	return nil
}

// status says whether the lab runs.
func status(c config) error {
	r, err := readRecord(c.name)
	if err != nil || !r.alive() {
		return errors.New("no lab is up")
	}
	fmt.Printf("The lab is up since %s, as process %d.\n", r.Ready.Format(time.DateTime), r.PID)
	r.explain(os.Stdout)
	return nil
}

// explain says how to use the lab.
func (r record) explain(w io.Writer) {
	fmt.Fprintf(w, "\nHosts:\n")
	for _, h := range r.Hosts {
		fmt.Fprintf(w, "  %s  virsh -c '%s'\n", h.Name, h.LibvirtURI)
	}
	fmt.Fprintf(w, "\nexport KUBECONFIG=%s\n\nTry:\n", r.Kubeconfig)
	fmt.Fprintf(w, "  %s get hypervisors,livemigrations\n", r.Kubectl)
	if r.Guest != "" && len(r.Hosts) > 0 {
		fmt.Fprintf(w, "  virsh -c '%s' list\n", r.Hosts[0].LibvirtURI)
		fmt.Fprintf(w, "  tail --lines=1 --follow=name --retry --quiet %s\n", strings.Join(r.Consoles, " "))
	}
	fmt.Fprintf(w, "\n\"lab down\" ends it; its logs are in %s/log.\n", r.Dir)
}
