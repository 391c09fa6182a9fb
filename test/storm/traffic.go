//go:build linux

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/libvirt"
	"github.com/virtferry/virtferry/test/lab"
)

// traffic is what one host's libvirt says of the guests that come to it, and of its
// workers. It is asked on connections of its own.
type traffic struct {
	host   *lab.Host
	client *libvirt.Client

	mu       sync.Mutex
	arriving map[string]bool
	// most is the largest number of guests that were on their way at once, and busy
	// the largest number of workers that were in use.
	most, busy int
	workers    int
}

func newTraffic(h *lab.Host) (*traffic, error) {
	client, err := libvirt.New(libvirt.Config{URI: h.LibvirtURI()})
	if err != nil {
		return nil, fmt.Errorf("preparing a connection to %s: %w", h.Name(), err)
	}
	return &traffic{host: h, client: client, arriving: map[string]bool{}}, nil
}

// follow watches the host until ctx ends.
func (t *traffic) follow(ctx context.Context) {
	var wait sync.WaitGroup
	defer wait.Wait()
	events := t.client.Subscribe(ctx, "")
	wait.Go(func() { _ = t.client.Run(ctx) }) // It ends with its context.
	wait.Go(func() {
		for ; ctx.Err() == nil; sleep(ctx, time.Second) {
			t.countWorkers(ctx)
		}
	})
	for e := range events {
		t.note(e)
	}
}

// note counts a guest from the moment at which its incoming half appears until it
// runs, or is gone.
func (t *traffic) note(e hypervisor.Event) {
	if e.Type != hypervisor.EventLifecycle {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case e.Lifecycle == hypervisor.LifecycleStarted && e.Detail == hypervisor.DetailMigrated:
		t.arriving[e.UUID] = true
		t.most = max(t.most, len(t.arriving))
	case e.Lifecycle == hypervisor.LifecycleResumed, e.Lifecycle == hypervisor.LifecycleStopped:
		delete(t.arriving, e.UUID)
	}
}

// countWorkers asks libvirtd's administration server, which has workers of its own.
func (t *traffic) countWorkers(ctx context.Context) {
	out, err := t.host.Exec(ctx, "virt-admin", "srv-threadpool-info", "libvirtd")
	if err != nil {
		return
	}
	pool := parsePool(out)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.workers = pool["maxWorkers"]
	t.busy = max(t.busy, pool["nWorkers"]-pool["freeWorkers"])
}

// parsePool reads lines such as "maxWorkers     : 20".
func parsePool(text string) map[string]int {
	pool := map[string]int{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
			pool[strings.TrimSpace(name)] = n
		}
	}
	return pool
}

// peak returns what was seen at most.
func (t *traffic) peak() (guests, busyWorkers, workers int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.most, t.busy, t.workers
}
