//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// upgradeSteps is how many steps there are besides the moves.
const upgradeSteps = 5

// upgradeManifest is a LiveMigration by its name and target.
const upgradeManifest = `apiVersion: migration.virtferry.dev/v1alpha1
kind: LiveMigration
metadata:
  name: %s
  namespace: default
spec:
  domain: demo
  targetNode: %s
`

// wayThrough leads from the first of n hosts to each next one, and back.
func wayThrough(n int) []int {
	var way []int
	for i := 1; i < n; i++ {
		way = append(way, i)
	}
	for i := n - 2; i >= 0; i-- {
		way = append(way, i)
	}
	return way
}

// upgradeIn moves a guest to each newer generation of hosts and back, as it moves when one
// host after the other is upgraded, or when that has to be undone.
func upgradeIn(ctx context.Context, l *lab.Lab, steps *steps) error {
	hosts := l.Hosts()
	d := &demonstration{steps: steps, lab: l, from: hosts[0], to: hosts[0]}
	d.say("Booting the guest \"demo\" on %s; it prints a tick a second", d.from.Name())
	var err error
	if d.guest, err = bootGuest(ctx, "demo", d.from); err != nil {
		return err
	}
	d.say("Starting Virtferry: a manager, and an agent for each host")
	if _, err := l.StartVirtferry(ctx); err != nil {
		return err
	}
	if err := d.from.WaitPublished(ctx, d.guest); err != nil {
		return err
	}
	err = d.kubectl(ctx, "get", "hypervisors", "-o", "custom-columns=NODE:.metadata.name,LIBVIRT:.status.libvirtVersion,QEMU:.status.hypervisorVersion")
	if err != nil {
		return err
	}
	for i, place := range wayThrough(len(hosts)) {
		d.from, d.to = d.to, hosts[place]
		if err := d.moveOn(ctx, fmt.Sprintf("demo-%d", i+1)); err != nil {
			return err
		}
	}
	return d.proveRoundTrip(ctx)
}

// moveOn moves the guest to the next host.
func (d *demonstration) moveOn(ctx context.Context, name string) error {
	d.say("Moving the guest from %s (%s) to %s (%s)", d.from.Name(), d.from.Generation(), d.to.Name(), d.to.Generation())
	manifest := filepath.Join(d.lab.Dir(), name+".yaml")
	if err := os.WriteFile(manifest, fmt.Appendf(nil, upgradeManifest, name, d.to.Name()), 0o600); err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	if err := d.kubectl(ctx, "apply", "-f", name+".yaml"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	lm, err := d.awaitEnd(ctx, name)
	if err != nil {
		return err
	}
	c := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
	if c == nil || lm.Status.Phase != v1alpha1.PhaseSucceeded {
		return fmt.Errorf("the migration ended in phase %s: %+v", lm.Status.Phase, c)
	}
	fmt.Printf("    %s: %s\n", c.Reason, c.Message)
	if _, err := d.guest.Ticks().Advance(ctx, d.to.Name(), 2); err != nil {
		return err
	}
	if gap, _, ok := d.guest.Ticks().LastMove(); ok {
		fmt.Printf("    tick %d was printed on %s, and tick %d on %s; between the two, the guest stood still for %s\n",
			gap.Before.N, d.from.Name(), gap.After.N, d.to.Name(), max(0, gap.Stopped).Round(time.Millisecond))
	}
	return nil
}

// proveRoundTrip shows that it is still the same guest, and runs once.
func (d *demonstration) proveRoundTrip(ctx context.Context) error {
	if err := d.proveOneRuns(ctx); err != nil {
		return err
	}
	if err := d.guest.Ticks().Check(); err != nil {
		return err
	}
	ticks := d.guest.Ticks().All()
	fmt.Printf("    %d ticks were printed on the way, and none is missing or came twice\n", len(ticks))
	d.say("The LiveMigrations at the end")
	return d.kubectl(ctx, "get", "livemigrations", "-o", "wide")
}
