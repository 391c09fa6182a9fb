//go:build linux

// Command lab runs a lab for people: a control plane, libvirt hosts with
// Virtferry's manager and agents, and a guest to migrate.
//
//	lab up       starts a lab in the background and says how to use it
//	lab status   says whether a lab runs, and how to use it
//	lab down     stops it
//	lab serve    runs it in the foreground, until interrupted
//	lab demo     moves a guest in a lab of its own, and shows it; with -generations,
//	             from each release of Debian to the next, and back
//
// The lab lives as long as the serving process, however that ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/virtferry/virtferry/test/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	log.SetLogger(logr.Discard()) // Of the client's; what is said here is said in plain words.
	err := run(ctx, os.Args[1:])
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err == nil:
		return
	case interrupted:
		fmt.Fprintln(os.Stderr, "lab: interrupted")
	case !errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(os.Stderr, "lab: %v\n", err)
	}
	os.Exit(1)
}

// run carries out one subcommand.
func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("which of up, down, serve, status and demo?")
	}
	config, err := parseFlags(args[0], args[1:])
	if err != nil {
		return err
	}
	switch args[0] {
	case "up":
		return up(ctx, config)
	case "down":
		return down(ctx, config)
	case "serve":
		return serve(ctx, config)
	case "status":
		return status(config)
	case "demo":
		return demo(ctx, config)
	default:
		return fmt.Errorf("no command %q: up, down, serve, status or demo", args[0])
	}
}

// config is what the flags say.
type config struct {
	name  string
	hosts int
	// generations are the releases of Debian that the hosts run, if they are not this machine's.
	generations string
	binary      string
	components  bool
	guest       string
}

// parseFlags reads the flags, which are the same for all subcommands.
func parseFlags(command string, args []string) (config, error) {
	var c config
	flags := flag.NewFlagSet("lab "+command, flag.ContinueOnError)
	flags.StringVar(&c.name, "name", "default", "name of the lab; several may run at once")
	flags.IntVar(&c.hosts, "hosts", 2, "number of libvirt hosts")
	flags.StringVar(&c.generations, "generations", "",
		"the hosts run these releases of Debian, such as bookworm,trixie,forky, one each; empty means this machine's own")
	flags.StringVar(&c.binary, "binary", "", "virtferry executable; empty means ${VIRTFERRY_BINARY}, or one built from source")
	flags.BoolVar(&c.components, "components", true, "run Virtferry's manager and agents")
	flags.StringVar(&c.guest, "guest", "demo", "name of the guest to start; empty means none")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if c.name == "" || strings.ContainsAny(c.name, "/.") {
		return config{}, fmt.Errorf("%q cannot name a lab", c.name)
	}
	if c.generations != "" {
		c.hosts = len(c.systems())
	}
	if c.guest != "" && c.hosts < 1 {
		return config{}, errors.New("a guest needs a host")
	}
	return c, nil
}

// systems are the generations, one for each host; none if all run this machine's own.
func (c config) systems() []lab.Generation {
	if c.generations == "" {
		return nil
	}
	var all []lab.Generation
	for name := range strings.SplitSeq(c.generations, ",") {
		all = append(all, lab.Generation(name))
	}
	return all
}

// flags returns the arguments that make parseFlags return the same again.
func (c config) flags() []string {
	return []string{
		"-name=" + c.name, fmt.Sprintf("-hosts=%d", c.hosts), "-generations=" + c.generations, "-binary=" + c.binary,
		fmt.Sprintf("-components=%t", c.components), "-guest=" + c.guest,
	}
}
