//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/virtferry/virtferry/test/lab"
)

// record is what a ready lab leaves for other processes to find it by.
type record struct {
	PID        int       `json:"pid"`
	StartTime  uint64    `json:"startTime"` // Of the process, in clock ticks since boot.
	Name       string    `json:"name"`
	Ready      time.Time `json:"ready"`
	Dir        string    `json:"dir"` // A link to the state directory, by a name that people can type.
	target     string    // The state directory; known to the lab's own process only.
	Kubeconfig string    `json:"kubeconfig"`
	Kubectl    string    `json:"kubectl"`
	Guest      string    `json:"guest,omitempty"`
	Consoles   []string  `json:"consoles,omitempty"` // The guest's, one per host.
	Hosts      []host    `json:"hosts"`
}

// host is how to reach one host.
type host struct {
	Name       string `json:"name"`
	Address    string `json:"address"`
	LibvirtURI string `json:"libvirtURI"`
}

// newRecord describes a lab that this process owns.
func newRecord(c config, l *lab.Lab) (record, error) {
	start, err := lab.ProcessStartTime(os.Getpid())
	if err != nil {
		return record{}, fmt.Errorf("reading this process's start time: %w", err)
	}
	dir := linkPath(c.name)
	friendly := func(path string) string { return strings.ReplaceAll(path, l.Dir(), dir) }
	r := record{
		PID: os.Getpid(), StartTime: start, Name: c.name, Ready: time.Now(), Dir: dir, target: l.Dir(),
		Kubeconfig: friendly(l.ControlPlane().Kubeconfig()), Kubectl: kubectl(l), Guest: c.guest,
	}
	for _, h := range l.Hosts() {
		r.Hosts = append(r.Hosts, host{Name: h.Name(), Address: h.Address(), LibvirtURI: friendly(h.LibvirtURI())})
		if c.guest != "" {
			r.Consoles = append(r.Consoles, friendly(h.Path(lab.ConsolePath(c.guest))))
		}
	}
	return r, nil
}

// linkPath is the link to a lab's state directory.
func linkPath(name string) string { return filepath.Join(os.TempDir(), "virtferry-lab."+name) }

// recordPath is where a lab's record lies.
func recordPath(name string) string {
	return linkPath(name) + ".json"
}

// logPath is where a lab in the background writes.
func logPath(name string) string {
	return linkPath(name) + ".log"
}

// readRecord reads a lab's record; os.ErrNotExist when there is none.
func readRecord(name string) (record, error) {
	data, err := os.ReadFile(recordPath(name))
	if err != nil {
		return record{}, fmt.Errorf("reading the lab's record: %w", err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, fmt.Errorf("reading the lab's record: %w", err)
	}
	return r, nil
}

// write publishes the record, whole or not at all.
func (r record) write() error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the lab's record: %w", err)
	}
	// A lab that was killed leaves its link.
	if err := os.Remove(r.Dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing an earlier lab's link: %w", err)
	}
	if err := os.Symlink(r.target, r.Dir); err != nil {
		return fmt.Errorf("linking to the lab's directory: %w", err)
	}
	tmp := filepath.Join(r.target, "record.json")
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the lab's record: %w", err)
	}
	if err := os.Rename(tmp, recordPath(r.Name)); err != nil {
		return fmt.Errorf("writing the lab's record: %w", err)
	}
	return nil
}

// remove withdraws the record. Nobody trusts one without its process, so that it
// cannot be removed is no error.
func (r record) remove() {
	_ = os.Remove(recordPath(r.Name))
	_ = os.Remove(r.Dir)
}

// alive says whether the process that owns the lab still runs.
func (r record) alive() bool {
	start, err := lab.ProcessStartTime(r.PID)
	return err == nil && start == r.StartTime
}

// terminate asks the owner to stop the lab.
func (r record) terminate() error {
	if err := syscall.Kill(r.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("asking process %d to stop: %w", r.PID, err)
	}
	return nil
}
