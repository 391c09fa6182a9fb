package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"regexp"

	"github.com/pmezard/go-difflib/difflib"
	"github.com/spf13/cobra"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// maxRewriteInput bounds how much is read from a file or from standard input.
const maxRewriteInput = 16 << 20

// rewriteFlags are those of the rewrite subcommand.
type rewriteFlags struct {
	domain    string
	migration string
	inactive  bool
	other     string

	diff        bool
	showSecrets bool
	strict      bool

	listenAddress  string
	serialPorts    string
	capabilities   string
	cgroupVersion  int
	libvirtVersion string
}

// newRewriteCommand returns the subcommand that rewrites a guest's XML without
// a cluster and without libvirt, just as an agent would.
func newRewriteCommand() *cobra.Command {
	var f rewriteFlags
	cmd := &cobra.Command{
		Use:   "rewrite --domain guest.xml --migration livemigration.yaml",
		Short: "Show what a guest's XML becomes on the target",
		Long: `Rewrite the XML of a guest by the migrate data of a LiveMigration, as the
source's agent does, and print it. Neither a cluster nor libvirt is needed.

What the target's agent would fill in from its host, --listen-address and
--serial-ports fill in here; give what that agent is given. Without them, an
address of the source host is reported as a problem, and a port that is kept is
warned about. Whether the target has the CPUs and NUMA nodes that are asked for is
checked against --target-capabilities, the output of virsh capabilities on the
target, and is not checked without.

The object is checked as the API server would check it, by the schema and the rules
of its kind, and must be for the guest of the XML. Whether a host path is one that
the target allows, only the target's agent can say.

All problems are printed to standard error, one a line, and the exit code is 1. So
are warnings, of what is kept although it may be wrong on the target; the exit code
is then 0, or 2 with --strict. The XML that is printed holds the guest's console
passwords, if it has any; --diff masks them, cookies and queries of HTTP disks, and
what the firmware hands on (fw_cfg, OEM strings), unless --show-secrets is given. It
does not mask what secrets comments, metadata and qemu:commandline hold.`,
		Example: `  virsh dumpxml --migratable guest | virtferry rewrite --domain - --migration livemigration.yaml --diff
  virtferry rewrite --domain guest.xml --migration livemigration.yaml --listen-address 192.0.2.20 --target-capabilities target.xml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.domain, "domain", "", "file with the guest's XML, or - for standard input")
	flags.StringVar(&f.migration, "migration", "", "file with the LiveMigration as YAML or JSON, or - for standard input")
	flags.BoolVar(&f.inactive, "inactive", false, "the XML is the guest's persistent definition, not that of the running guest")
	flags.StringVar(&f.other, "other-definition", "", "file with the guest's other definition: the persistent one, or with --inactive that of the running guest; what the object names may be in either")
	flags.BoolVar(&f.diff, "diff", false, "print what changes, as a unified diff, instead of the XML")
	flags.BoolVar(&f.showSecrets, "show-secrets", false, "print passwords with --diff, too")
	flags.BoolVar(&f.strict, "strict", false, "end with exit code 2 if there are warnings")
	flags.StringVar(&f.listenAddress, "listen-address", "", "IP address on which consoles listen on the target, if the object does not give one")
	flags.StringVar(&f.serialPorts, "serial-ports", "", "range of the target's TCP ports for serial consoles, such as 10000-10999, if the object does not give any; the first ones are used")
	flags.StringVar(&f.capabilities, "target-capabilities", "", "file with the target's capabilities, as printed by virsh capabilities, or - for standard input")
	flags.IntVar(&f.cgroupVersion, "target-cgroup-version", 0, "version of the target's control groups, 1 or 2, which decides what CPU shares it accepts")
	flags.StringVar(&f.libvirtVersion, "target-libvirt-version", "", "version of the target's libvirt, such as 9.0.0, which decides what definitions it accepts")
	for _, name := range [...]string{"domain", "migration"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // The flag is defined above.
		}
	}
	return cmd
}

func (f *rewriteFlags) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	if err := f.check(); err != nil {
		return err
	}
	guest, err := readInput(f.domain, stdin)
	if err != nil {
		return fmt.Errorf("reading --domain: %w", err)
	}
	data, err := f.migrateData(ctx, stdin, guest)
	if err != nil {
		return fmt.Errorf("reading --migration: %w", err)
	}
	opts, err := f.options(stdin, guest)
	if err != nil {
		return err
	}
	plan, err := xmlrewrite.NewPlan(guest, data, opts)
	if err != nil {
		return fmt.Errorf("the migrate data does not fit the guest:\n%w", err)
	}
	if err := writeWarnings(stderr, plan.Warnings()); err != nil {
		return err
	}
	if f.diff {
		err = f.writeDiff(stdout, string(guest), plan.Apply())
	} else {
		_, err = io.WriteString(stdout, plan.Apply())
	}
	if n := len(plan.Warnings()); err == nil && f.strict && n > 0 {
		return &strictError{n}
	}
	return err
}

// migrateData reads the object, which must be for the guest.
func (f *rewriteFlags) migrateData(ctx context.Context, stdin io.Reader, guest []byte) (*v1alpha1.MigrateData, error) {
	text, err := readInput(f.migration, stdin)
	if err != nil {
		return nil, err
	}
	lm, err := liveMigrationOf(ctx, text)
	if err != nil {
		return nil, err
	}
	name, uuid, err := xmlrewrite.Identity(guest)
	if err != nil {
		return nil, err
	}
	return lm.Spec.MigrateData, checkDomain(lm.Spec.Domain, name, uuid)
}

// options are what else the rewrite depends on.
func (f *rewriteFlags) options(stdin io.Reader, guest []byte) (opts xmlrewrite.Options, err error) {
	opts.Inactive = f.inactive
	if f.other != "" {
		other, err := readInput(f.other, stdin)
		if err != nil {
			return opts, fmt.Errorf("reading --other-definition: %w", err)
		}
		if err := checkOther(guest, other); err != nil {
			return opts, err
		}
		opts.Other = string(other)
	}
	if opts.Offer, err = f.offer(guest); err != nil {
		return opts, err
	}
	opts.Target, err = f.targetFacts(stdin)
	return opts, err
}

var isVersion = regexp.MustCompile(`^\d+\.\d+(\.\d+)?$`)

// check refuses flags that make no sense.
func (f *rewriteFlags) check() error {
	stdins := 0
	for _, path := range [...]string{f.domain, f.migration, f.other, f.capabilities} {
		if path == "-" {
			stdins++
		}
	}
	switch {
	case stdins > 1:
		return errors.New("only one of --domain, --migration, --other-definition and --target-capabilities can be standard input")
	case f.cgroupVersion < 0 || f.cgroupVersion > 2:
		return fmt.Errorf("--target-cgroup-version is %d: it must be 1 or 2", f.cgroupVersion)
	case f.libvirtVersion != "" && !isVersion.MatchString(f.libvirtVersion):
		return fmt.Errorf("--target-libvirt-version is %q: it must be a version such as 9.0.0", f.libvirtVersion)
	}
	return nil
}

// offer returns what the target's agent would offer if it had these flags.
func (f *rewriteFlags) offer(guest []byte) (*v1alpha1.MigrateData, error) {
	offer := &v1alpha1.MigrateData{Serial: &v1alpha1.SerialMigrateData{}}
	if f.listenAddress != "" {
		if _, err := netip.ParseAddr(f.listenAddress); err != nil {
			return nil, fmt.Errorf("--listen-address must be an IP address: %w", err)
		}
		offer.Serial.ListenAddress = &f.listenAddress
		offer.Graphics = &v1alpha1.GraphicsMigrateData{
			VNCListenAddress: &f.listenAddress, SPICEListenAddress: &f.listenAddress, RDPListenAddress: &f.listenAddress,
		}
	}
	if f.serialPorts == "" {
		return offer, nil
	}
	ports, err := parsePortRange("--serial-ports", f.serialPorts)
	if err != nil {
		return nil, err
	}
	needs, err := xmlrewrite.ReadNeeds(guest)
	if err != nil {
		return nil, err
	}
	offer.Serial.Ports = []int32{}
	for port := int32(ports.First); port <= int32(ports.Last) && len(offer.Serial.Ports) < needs.SerialPorts; port++ {
		offer.Serial.Ports = append(offer.Serial.Ports, port)
	}
	return offer, nil
}

// targetFacts returns what is known about the target.
func (f *rewriteFlags) targetFacts(stdin io.Reader) (xmlrewrite.TargetFacts, error) {
	var facts xmlrewrite.TargetFacts
	if f.capabilities != "" {
		text, err := readInput(f.capabilities, stdin)
		if err == nil {
			facts, err = xmlrewrite.ReadTargetFacts(text)
		}
		if err != nil {
			return facts, fmt.Errorf("reading --target-capabilities: %w", err)
		}
	}
	facts.CgroupVersion, facts.LibvirtVersion = f.cgroupVersion, f.libvirtVersion
	return facts, nil
}

func readInput(path string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, maxRewriteInput+1))
	if err == nil && len(text) > maxRewriteInput {
		return nil, fmt.Errorf("the input is larger than %d MiB", maxRewriteInput>>20)
	}
	return text, err
}

// writeWarnings prints one warning a line.
func writeWarnings(w io.Writer, warnings xmlrewrite.Problems) error {
	for _, warning := range warnings {
		if _, err := fmt.Fprintln(w, "warning:", warning); err != nil {
			return err
		}
	}
	return nil
}

// strictError says that there were warnings and that none were wanted.
type strictError struct{ warnings int }

func (e *strictError) Error() string {
	if e.warnings == 1 {
		return "there is a warning, and --strict is given"
	}
	return fmt.Sprintf("there are %d warnings, and --strict is given", e.warnings)
}

// ExitCode tells warnings from problems.
func (*strictError) ExitCode() int { return 2 }

// diff prints what changes. Both texts have their secrets masked, unless asked not to.
func (f *rewriteFlags) writeDiff(w io.Writer, before, after string) error {
	if !f.showSecrets {
		for _, text := range [...]*string{&before, &after} {
			masked, err := xmlrewrite.MaskSecrets(*text)
			if err != nil {
				return err
			}
			*text = masked
		}
	}
	return writeDiff(w, before, after)
}

func writeDiff(w io.Writer, before, after string) error {
	if before == after {
		return nil
	}
	return difflib.WriteUnifiedDiff(w, difflib.UnifiedDiff{
		A: difflib.SplitLines(before), FromFile: "source",
		B: difflib.SplitLines(after), ToFile: "target",
		Context: 3,
	})
}
