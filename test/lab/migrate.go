//go:build linux

package lab

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// Migrate migrates a guest from one host to another with virsh alone, peer to
// peer, the way that Virtferry is measured against. Console and serial ports
// move to the target's address. More options of "virsh migrate" may follow, such
// as --postcopy or --copy-storage-all.
func (g *Guest) Migrate(ctx context.Context, from, to *Host, options ...string) error {
	run, discard, err := g.PrepareMigration(ctx, from, to, options...)
	if err != nil {
		return err
	}
	defer discard()
	return run(ctx)
}

// PrepareMigration does all of Migrate but the migration, which run does. What was prepared is
// there until discard.
func (g *Guest) PrepareMigration(ctx context.Context, from, to *Host, options ...string) (run func(context.Context) error, discard func(), err error) {
	args := []string{"migrate", "--live", "--p2p"}
	persistent, err := from.Virsh(ctx, "dominfo", g.name)
	if err != nil {
		return nil, nil, err
	}
	live, err := g.rewritten(ctx, from, to)
	if err != nil {
		return nil, nil, err
	}
	files := []string{live}
	discard = func() {
		for _, file := range files {
			_ = os.Remove(file)
		}
	}
	args = append(args, "--xml", live)
	if isPersistent(persistent) {
		inactive, err := g.rewritten(ctx, from, to, "--inactive")
		if err != nil {
			discard()
			return nil, nil, err
		}
		files = append(files, inactive)
		// Without the second definition, libvirt before 10 keeps the source's
		// addresses in what it saves on the target.
		args = append(args, "--persistent", "--undefinesource", "--persistent-xml", inactive)
	}
	args = append(append(args, options...), g.name, to.PeerURI())
	return func(ctx context.Context) error {
		if _, err := from.Virsh(ctx, args...); err != nil {
			return fmt.Errorf("migrating %s to %s: %w", g.name, to.name, err)
		}
		return nil
	}, discard, nil
}

// rewritten writes the guest's definition, with the target's address in place of
// the source's, to a temporary file and returns its path.
func (g *Guest) rewritten(ctx context.Context, from, to *Host, options ...string) (string, error) {
	args := append([]string{"dumpxml", "--migratable", "--security-info"}, options...)
	definition, err := from.Virsh(ctx, append(args, g.name)...)
	if err != nil {
		return "", err
	}
	definition = strings.ReplaceAll(definition, "'"+from.Address()+"'", "'"+to.Address()+"'")
	return g.lab.writeTemp(g.name+"-*.xml", definition)
}

// isPersistent reads the output of "virsh dominfo".
func isPersistent(info string) bool {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, "Persistent:"); ok {
			return strings.TrimSpace(value) == "yes"
		}
	}
	return false
}
