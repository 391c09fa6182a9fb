//go:build linux

// Command scale measures whether the manager stands many objects. API server, etcd
// and manager are real, each a process of its own, as are the agents, but for their
// hypervisors, which are made up; all agents share one process. Each load is measured
// on a control plane of its own: first a tenth of the load and then all of it, so
// that growth shows.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/virtferry/virtferry/test/bench/shuttle"
	"github.com/virtferry/virtferry/test/command"
)

func main() {
	var p plan
	flag.IntVar(&p.finished, "finished", 10000, "how many finished LiveMigrations the cluster has")
	flag.IntVar(&p.nodes, "nodes", 50, "how many nodes have an agent")
	flag.IntVar(&p.idleNodes, "idle-nodes", 0, "how many nodes more are published, with a guest list and a lease, but have no agent")
	flag.IntVar(&p.admissions, "admissions", 100, "how many migrations are applied one after the other")
	flag.DurationVar(&p.rest, "rest", 10*time.Second, "how long to watch what an idle cluster costs")
	flag.DurationVar(&p.patience, "patience", 5*time.Minute, "how long to wait for what the manager has to do")
	flag.StringVar(&p.profiles, "profile", "", "directory for profiles of the manager and of kube-apiserver; empty means none")
	growth := flag.Bool("growth", true, "measure a tenth of the load before")
	agents := flag.Bool("agents", false, "be the process of the agents; used by this command itself")
	flag.Parse()
	if !*agents {
		command.RefuseArguments()
	}
	shuttle.Main("scale", func(ctx context.Context) error {
		switch {
		case *agents:
			return serveAgents(ctx, flag.Args())
		case *growth:
			return measureGrowth(ctx, p)
		default:
			return measureAlone(ctx, p)
		}
	})
}

// plan is a load.
type plan struct {
	finished, nodes, idleNodes, admissions int
	rest, patience                         time.Duration
	profiles                               string
}

// moves is how many migrations are run to their ends at once, for what each takes.
func (p plan) moves() int { return max(p.finished/50, 1) }

// triaged is how many are applied at once last.
func (p plan) triaged() int { return max(p.finished/2, 1) }

// guests is how many guests there are: one for each migration that is to go ahead,
// and one for the first, see seed.
func (p plan) guests() int { return p.admissions + p.moves() + p.triaged() + 1 }

func (p plan) tenth() plan {
	p.finished /= 10
	if p.profiles != "" {
		p.profiles = filepath.Join(p.profiles, "tenth")
	}
	return p
}

func measureAlone(ctx context.Context, p plan) error {
	f, err := measure(ctx, p)
	printFigures(os.Stdout, f)
	return err
}

func measureGrowth(ctx context.Context, p plan) error {
	if p.finished < 100 {
		return errors.New("-finished is too small for a tenth of it to be measured: give 100 at least, or -growth=false")
	}
	tenth, err := measure(ctx, p.tenth())
	if err != nil {
		printFigures(os.Stdout, tenth)
		return fmt.Errorf("with a tenth of the load: %w", err)
	}
	whole, err := measure(ctx, p)
	printFigures(os.Stdout, tenth)
	printFigures(os.Stdout, whole)
	if err == nil {
		printGrowth(os.Stdout, tenth, whole)
	}
	return err
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func nodeName(i int) string { return "node-" + strconv.Itoa(i) }

func guestName(i int) string { return "guest-" + strconv.Itoa(i) }

func guestUUID(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }

// guestNode is where a guest runs, and guestTarget where it is to go: each node sends
// guests to all others in turn.
func (p plan) guestNode(i int) string { return nodeName(i % p.nodes) }

func (p plan) guestTarget(i int) string {
	return nodeName((i%p.nodes + 1 + i/p.nodes%(p.nodes-1)) % p.nodes)
}
