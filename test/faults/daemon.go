//go:build linux

package main

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/virtferry/virtferry/test/lab"
)

// daemon is one of Virtferry's processes. When it ends by itself it is started
// again, as a kubelet does.
type daemon struct {
	*lab.Component
	api *apiLink

	mu sync.Mutex
	// down is set while a fault keeps the daemon from running.
	down bool
	// exits are the ends that no fault brought about.
	exits []string
}

// supervise restarts the daemon until ctx ends.
func (d *daemon) supervise(ctx context.Context) {
	for ctx.Err() == nil {
		p := d.Process()
		select {
		case <-ctx.Done():
			return
		case <-p.Exited():
		}
		d.mu.Lock()
		if !d.down && d.Process() == p {
			d.exits = append(d.exits, fmt.Sprintf("%s ended by itself: %s", d.Name(), p.LogTail(1)))
			if err := d.Start(); err != nil {
				d.exits = append(d.exits, err.Error())
			}
		}
		d.mu.Unlock()
		time.Sleep(pollInterval)
	}
}

// kill kills the daemon and keeps it down until start.
func (d *daemon) kill(ctx context.Context) error {
	d.mu.Lock()
	d.down = true
	d.mu.Unlock()
	return d.Kill(ctx, syscall.SIGKILL)
}

// start undoes kill. A daemon that runs is left alone.
func (d *daemon) start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = false
	return d.Start()
}

// takeExits returns what has happened since the last time.
func (d *daemon) takeExits() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	exits := d.exits
	d.exits = nil
	return exits
}
