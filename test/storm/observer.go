//go:build linux

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor/libvirt"
	"github.com/virtferry/virtferry/test/lab"
	"github.com/virtferry/virtferry/test/traffic"
)

// observer follows what one host's libvirt says of the guests that come to it, and of its
// workers. It is asked on connections of its own.
type observer struct {
	host   *lab.Host
	client *libvirt.Client

	arrivals traffic.Counter

	mu sync.Mutex
	// busy is the largest number of workers that were in use, of how many there are.
	busy, workers int
}

func newObserver(h *lab.Host) (*observer, error) {
	client, err := libvirt.New(libvirt.Config{URI: h.LibvirtURI()})
	if err != nil {
		return nil, fmt.Errorf("preparing a connection to %s: %w", h.Name(), err)
	}
	return &observer{host: h, client: client}, nil
}

// follow watches the host until ctx ends.
func (o *observer) follow(ctx context.Context) {
	var wait sync.WaitGroup
	defer wait.Wait()
	events := o.client.Subscribe(ctx, "")
	wait.Go(func() { _ = o.client.Run(ctx) }) // It ends with its context.
	wait.Go(func() {
		for ; ctx.Err() == nil; sleep(ctx, time.Second) {
			o.countWorkers(ctx)
		}
	})
	for e := range events {
		o.arrivals.Note(e)
	}
}

// countWorkers asks libvirtd's administration server, which has workers of its own.
func (o *observer) countWorkers(ctx context.Context) {
	out, err := o.host.Exec(ctx, "virt-admin", "srv-threadpool-info", "libvirtd")
	if err != nil {
		return
	}
	pool := parsePool(out)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.workers = pool["maxWorkers"]
	o.busy = max(o.busy, pool["nWorkers"]-pool["freeWorkers"])
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
func (o *observer) peak() (guests, busyWorkers, workers int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.arrivals.Most(), o.busy, o.workers
}
