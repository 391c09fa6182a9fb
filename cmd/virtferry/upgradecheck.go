package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/upgradecheck"
)

// upgradeCheckFlags are those of the upgrade-check subcommand.
type upgradeCheckFlags struct {
	common    commonFlags
	namespace string
	targets   []string
	parallel  int
	timeout   time.Duration
	output    string
}

// newUpgradeCheckCommand returns the subcommand that tells which guests of a node an upgrade
// would strand.
func newUpgradeCheckCommand() *cobra.Command {
	var f upgradeCheckFlags
	cmd := &cobra.Command{
		Use:   "upgrade-check NODE [--to NODE]...",
		Short: "Tell which guests of a node could not be moved away, such as to upgraded hosts",
		Long: `Ask for each guest that runs on a node whether it could be moved to other nodes as
it is. Before a node is upgraded, this tells which guests cannot leave it. With --to
and a node that has been upgraded, it tells which guests of a node could not come back
once that is upgraded as well, and would have to be started anew.

It makes a dry run of a LiveMigration for each guest, and deletes it. Both hosts are
asked all that a migration would ask; no guest is touched. Without --to, one ready node
of each kind of host is asked: those with another libvirt, QEMU or CPU. A guest that
one of them takes is not asked about any further.

The exit code is 1 if a guest can be moved to none of the nodes, or if that could not be
found out. Creating and deleting LiveMigrations has to be allowed in the namespace, and
reading Hypervisors.`,
		Example: `  virtferry upgrade-check node-a
  virtferry upgrade-check node-a --to node-b --output json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			// Whoever interrupts it leaves no dry runs behind.
			return f.run(ctrl.SetupSignalHandler(), args[0], cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.common.kubeconfig, "kubeconfig", "", "path of a kubeconfig file; if empty, $KUBECONFIG or ~/.kube/config is used")
	flags.StringVarP(&f.namespace, "namespace", "n", "default", "namespace in which the dry runs are made")
	flags.StringSliceVar(&f.targets, "to", nil, "node to which guests might be moved; may be given several times")
	flags.IntVar(&f.parallel, "parallel", 4, "how many guests to ask about at once")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to wait for one answer")
	flags.StringVarP(&f.output, "output", "o", "table", "table, or json with a line for each guest")
	return cmd
}

func (f *upgradeCheckFlags) check() error {
	switch {
	case f.output != "table" && f.output != "json":
		return fmt.Errorf("--output is %q: it must be table or json", f.output)
	case f.parallel < 1 || f.parallel > 100:
		return fmt.Errorf("--parallel is %d: it must be from 1 to 100", f.parallel)
	case f.timeout < time.Second:
		return fmt.Errorf("--timeout is %s: it must be at least 1s", f.timeout)
	}
	return nil
}

func (f *upgradeCheckFlags) run(ctx context.Context, node string, out io.Writer) error {
	if err := f.check(); err != nil {
		return err
	}
	config, err := f.common.restConfig()
	if err != nil {
		return err
	}
	c, err := client.New(config, client.Options{Scheme: newScheme()})
	if err != nil {
		return fmt.Errorf("connecting to the API server: %w", err)
	}
	return f.ask(ctx, c, node, out)
}

// ask asks about all guests of a node, and prints what comes of it.
func (f *upgradeCheckFlags) ask(ctx context.Context, c client.Client, node string, out io.Writer) error {
	var all v1alpha1.HypervisorList
	if err := c.List(ctx, &all); err != nil {
		return fmt.Errorf("listing the Hypervisors: %w", err)
	}
	if err := upgradecheck.CheckNodes(node, f.targets, all.Items); err != nil {
		return err
	}
	targets := f.targets
	if len(targets) == 0 {
		if targets = upgradecheck.Targets(node, all.Items); len(targets) == 0 {
			return fmt.Errorf("no other node is ready, so no guest of %s can be moved anywhere", node)
		}
	}
	hv := &all.Items[slices.IndexFunc(all.Items, func(hv v1alpha1.Hypervisor) bool { return hv.Name == node })]
	guests := upgradecheck.Guests(hv)
	runner := upgradecheck.Runner{Client: c, Namespace: f.namespace, Node: node, Targets: targets, Parallel: f.parallel, Timeout: f.timeout}
	var results []upgradecheck.Result
	var printing error
	err := runner.Run(ctx, guests, func(r upgradecheck.Result) {
		results = append(results, r)
		if f.output == "json" {
			printing = errors.Join(printing, json.NewEncoder(out).Encode(r))
		}
	})
	if err != nil {
		return err
	}
	if f.output == "table" {
		printing = printAnswers(out, results)
	}
	return errors.Join(printing, conclude(node, targets, results, hv.Status.UnlistedDomains()))
}

// printAnswers prints a line for each answer, guest by guest.
func printAnswers(out io.Writer, results []upgradecheck.Result) error {
	slices.SortFunc(results, func(a, b upgradecheck.Result) int { return strings.Compare(a.Guest.String(), b.Guest.String()) })
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "GUEST\tTARGET\tANSWER\tMESSAGE")
	for _, r := range results {
		for _, a := range r.Answers {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.Guest, a.Target, a.Verdict, a.Message)
		}
	}
	return table.Flush() //nolint:wrapcheck // It is standard output's.
}

// conclude says which guests would be stranded, as an error, and of which that is not known.
func conclude(node string, targets []string, results []upgradecheck.Result, unlisted int) error {
	names := map[upgradecheck.Verdict][]string{}
	for _, r := range results {
		names[r.Verdict()] = append(names[r.Verdict()], r.Guest.String())
	}
	var errs []error
	to := strings.Join(targets, " or ")
	if n := names[upgradecheck.Refused]; len(n) > 0 {
		slices.Sort(n)
		errs = append(errs, fmt.Errorf("%d of %d guests of %s cannot be moved to %s as they are: %s. Do what the messages say, or start them anew where they are to run",
			len(n), len(results), node, to, strings.Join(n, ", ")))
	}
	if n := names[upgradecheck.Unanswered]; len(n) > 0 {
		slices.Sort(n)
		errs = append(errs, fmt.Errorf("of %d of %d guests of %s it could not be found out: %s. See the messages, and try again", len(n), len(results), node, strings.Join(n, ", ")))
	}
	if unlisted > 0 {
		errs = append(errs, fmt.Errorf("%d guests of %s are not listed in its Hypervisor, and were not asked about", unlisted, node))
	}
	return errors.Join(errs...)
}
