//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/virtferry/virtferry/test/bench/rig"
	"github.com/virtferry/virtferry/test/bench/shuttle"
)

// usage is how much processor time each process has taken.
type usage struct {
	at        time.Time
	processes []processUsage
}

type processUsage struct {
	name string
	pid  int
	cpu  time.Duration
}

// usage looks at all processes of the world that run.
func (w *world) usage() (usage, error) {
	u := usage{at: time.Now(), processes: []processUsage{
		{name: "kube-apiserver", pid: w.lab.ControlPlane().APIServer().PID()},
		{name: "etcd", pid: w.lab.ControlPlane().Etcd().PID()},
		{name: "agents", pid: w.agents.PID()},
		{name: "bench", pid: os.Getpid()},
	}}
	if process := w.manager.Process(); process.Running() {
		u.processes = append(u.processes, processUsage{name: "manager", pid: process.PID()})
	}
	for i := range u.processes {
		var err error
		if u.processes[i].cpu, err = rig.CPUTime(u.processes[i].pid); err != nil {
			return u, err
		}
	}
	return u, nil
}

// printSince says how much of a core each process has taken since.
func (u usage) printSince(before usage) {
	earlier := map[int]time.Duration{}
	for _, p := range before.processes {
		earlier[p.pid] = p.cpu
	}
	wall := u.at.Sub(before.at)
	var out strings.Builder
	fmt.Fprintf(&out, "  %.1f s;", wall.Seconds())
	for _, p := range u.processes {
		took := p.cpu - earlier[p.pid]
		fmt.Fprintf(&out, " %s %.1f s (%.1f %%)", p.name, took.Seconds(), 100*took.Seconds()/wall.Seconds())
	}
	say("%s", out.String())
}

// awaitIdle waits until the manager has looked at everything: its queues stay empty.
func (w *world) awaitIdle(ctx context.Context) error {
	for empty := 0; empty < 5; {
		depth, err := queueDepth(ctx, "http://"+w.metrics+"/metrics")
		if err != nil {
			return err
		}
		empty++
		if depth > 0 {
			empty = 0
		}
		if err := shuttle.Sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("%d objects are in the manager's queues: %w", depth, context.Cause(ctx))
		}
	}
	return nil
}

// queueDepth adds up how many objects wait in the queues of a manager's controllers.
func queueDepth(ctx context.Context, url string) (int, error) {
	body, err := get(ctx, http.DefaultClient, url)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	total := 0
	for lines := bufio.NewScanner(body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "} ")
		if !strings.HasPrefix(name, "workqueue_depth{") {
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return 0, fmt.Errorf("reading a queue's depth: %w", err)
		}
		total += n
	}
	return total, nil
}

func get(ctx context.Context, client *http.Client, url string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", url, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close()
		return nil, fmt.Errorf("%s answered %s", url, response.Status)
	}
	return response.Body, nil
}

// profileSeconds is for how long the use of the processor is sampled, from the
// beginning of each phase.
const profileSeconds = 20

// profile samples what the manager and kube-apiserver do from now on. What it returns
// writes down what was sampled, and what the manager has in memory.
func (w *world) profile(ctx context.Context, phase string) (stop func() error) {
	if w.plan.profiles == "" {
		return func() error { return nil }
	}
	const sample = "/debug/pprof/profile?seconds="
	seconds := strconv.Itoa(profileSeconds)
	save := func(name string, client *http.Client, url string) error {
		body, err := get(ctx, client, url)
		if err != nil {
			return err
		}
		defer body.Close()
		return saveFile(filepath.Join(w.plan.profiles, phase+"."+name+".pprof"), body)
	}
	var group errgroup.Group
	stopped := make(chan struct{})
	group.Go(func() error {
		for {
			err := save("manager-cpu", http.DefaultClient, "http://"+w.profiles+sample+seconds)
			if err == nil {
				return nil
			}
			select {
			case <-stopped:
				return err
			case <-time.After(50 * time.Millisecond): // It may not serve yet.
			}
		}
	})
	group.Go(func() error {
		config := w.lab.ControlPlane().RESTConfig()
		client, err := rest.HTTPClientFor(config)
		if err != nil {
			return fmt.Errorf("making a client: %w", err)
		}
		return save("kube-apiserver-cpu", client, config.Host+sample+seconds)
	})
	return func() error {
		err := save("manager-heap", http.DefaultClient, "http://"+w.profiles+"/debug/pprof/heap?gc=1")
		close(stopped)
		return errors.Join(err, group.Wait())
	}
}

func saveFile(path string, content io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making the directory of profiles: %w", err)
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("saving a profile: %w", err)
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}
