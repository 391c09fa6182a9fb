//go:build e2e

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// TestPersistentGuestMoves is the main job.
func TestPersistentGuestMoves(t *testing.T) {
	const password = "tell-nobody"
	g := env.startGuest(t, env.a, lab.GuestConfig{
		Persistent: true, VNC: &lab.VNC{Password: password[:8]}, TCPSerials: []int{17001}, Load: lab.Load{WorkingSetMiB: 32},
	})
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name()})
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
	env.requireAbsent(t, g, env.a)

	if !meta.IsStatusConditionTrue(lm.Status.Conditions, v1alpha1.ConditionReady) {
		t.Error("Ready is not True")
	}
	if p := lm.Status.Progress; p == nil || p.Percent != 100 || p.Memory == nil || p.Memory.TotalBytes == 0 {
		t.Errorf("progress is %+v, want all of the memory", p)
	}
	requireDowntime(t, g, env.await(t, lm, "the downtime", func(now *v1alpha1.LiveMigration) bool {
		return now.Status.DowntimeMilliseconds != nil && now.Status.Progress.ElapsedMilliseconds > 0
	}))
	requireListening(t, g, env.b, 1)
	requirePersistent(t, g, env.b)
	requireSilent(t, lm, password[:8])
}

// requireDowntime fails if the guest stood still for longer than was reported.
// What it stood still is seen from outside, and not more exactly than what it
// seems to stand still at other times.
func requireDowntime(t *testing.T, g *lab.Guest, lm *v1alpha1.LiveMigration) {
	t.Helper()
	const clocks = 150 * time.Millisecond // The guest's and the host's, under emulation.
	reported := time.Duration(*lm.Status.DowntimeMilliseconds) * time.Millisecond
	gap, noise, ok := g.Ticks().LastMove()
	if !ok || reported <= 0 || gap.Stopped > reported+max(clocks, 2*noise) {
		t.Errorf("the guest stood still for %s, with noise of %s, but %s is reported", gap.Stopped, noise, reported)
	}
}

// requireListening fails unless everything of the guest that listens does so on
// its host's own address.
func requireListening(t *testing.T, g *lab.Guest, h *lab.Host, serials int) {
	t.Helper()
	display, err := h.Virsh(t.Context(), "domdisplay", "--type", "vnc", g.UUID())
	if err != nil || !strings.Contains(display, h.Address()) {
		t.Errorf("the VNC console is at %q (%v), want it at %s", display, err, h.Address())
	}
	xml, err := h.Virsh(t.Context(), "dumpxml", g.UUID())
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(xml, fmt.Sprintf("mode='bind' host='%s' service='1", h.Address())); n < serials {
		t.Errorf("%d of %d serial consoles listen on %s at a port of the agent's range", n, serials, h.Address())
	}
}

// requirePersistent fails unless the host keeps a definition that names no other
// host.
func requirePersistent(t *testing.T, g *lab.Guest, h *lab.Host) {
	t.Helper()
	xml, err := h.Virsh(t.Context(), "dumpxml", "--inactive", g.UUID())
	if err != nil {
		t.Fatal(err)
	}
	info, err := h.Virsh(t.Context(), "dominfo", g.UUID())
	if err != nil || !strings.Contains(strings.Join(strings.Fields(info), " "), "Persistent: yes") {
		t.Errorf("the guest is not persistent on %s (%v): %s", h.Name(), err, info)
	}
	for _, other := range env.lab.Hosts() {
		if other != h && strings.Contains(xml, "'"+other.Address()+"'") {
			t.Errorf("the definition on %s names %s", h.Name(), other.Address())
		}
	}
}

// requireSilent fails if a secret of the guest is in the API.
func requireSilent(t *testing.T, lm *v1alpha1.LiveMigration, secret string) {
	t.Helper()
	raw, err := yaml.Marshal(lm)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), secret) {
		t.Error("the console's password is in the LiveMigration")
	}
	for _, c := range env.lab.Components() {
		if strings.Contains(c.Process().LogTail(100000), secret) {
			t.Errorf("the console's password is in the log of %s", c.Name())
		}
	}
}

func TestTransientGuestStaysTransient(t *testing.T) {
	g := env.startGuest(t, env.a, lab.GuestConfig{})
	lm, manifest := env.apply(t, v1alpha1.LiveMigrationSpec{Domain: g.UUID(), TargetNode: env.b.Name(), SourceNode: env.a.Name()})
	env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
	env.requireAbsent(t, g, env.a)
	// kubectl ends with an error where there is a difference.
	if out, err := env.lab.ControlPlane().Kubectl(t.Context(), "diff", "-f", manifest); err != nil || out != "" {
		t.Errorf("after the end, the object differs from its manifest (%v): %s", err, out)
	}
	if info, err := env.b.Virsh(t.Context(), "dominfo", g.UUID()); err != nil || !strings.Contains(strings.Join(strings.Fields(info), " "), "Persistent: no") {
		t.Errorf("the guest is not transient on the target (%v): %s", err, info)
	}
}

func TestPausedGuestStaysPaused(t *testing.T) {
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true})
	if _, err := env.a.Virsh(t.Context(), "suspend", g.UUID()); err != nil {
		t.Fatal(err)
	}
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name()})
	env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireAbsent(t, g, env.a)
	if s := env.b.DomainState(t.Context(), g.UUID()); s.State != lab.StatePaused {
		t.Fatalf("the guest is %v, want it paused", s)
	}
	if _, err := env.b.Virsh(t.Context(), "resume", g.UUID()); err != nil {
		t.Fatal(err)
	}
	env.requireOn(t, g, env.b)
}

func TestGuestsMoveSideBySide(t *testing.T) {
	type move struct {
		guest    *lab.Guest
		from, to *lab.Host
		lm       *v1alpha1.LiveMigration
	}
	moves := []*move{{from: env.a, to: env.b}, {from: env.a, to: env.b}, {from: env.b, to: env.a}}
	for i, m := range moves {
		m.guest = env.startGuest(t, m.from, lab.GuestConfig{Name: strconv.Itoa(i), Persistent: true, Load: slowLoad()})
	}
	for _, m := range moves {
		m.lm = env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: m.guest.Name(), TargetNode: m.to.Name(), Options: slow()})
	}
	for _, m := range moves {
		env.awaitCopying(t, m.lm)
	}
	var wait sync.WaitGroup
	for _, m := range moves {
		wait.Go(func() { m.lm = env.awaitFinished(t, m.lm) })
	}
	wait.Wait()
	latest := moves[0].lm.Status.Source.JobStartedTime
	earliest := moves[0].lm.Status.CompletionTime
	for _, m := range moves {
		if m.lm.Status.Phase != v1alpha1.PhaseSucceeded {
			t.Fatal(describe(m.lm))
		}
		env.requireOn(t, m.guest, m.to)
		if started := m.lm.Status.Source.JobStartedTime; started.After(latest.Time) {
			latest = started
		}
		if m.lm.Status.CompletionTime.Before(earliest) {
			earliest = m.lm.Status.CompletionTime
		}
	}
	if earliest.Time.Before(latest.Time) {
		t.Errorf("one migration had ended at %s before another began at %s: they did not run side by side", earliest, latest)
	}
}

func TestOptionsChangeWhileRunning(t *testing.T) {
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Load: slowLoad()})
	crawl := &v1alpha1.MigrationOptions{BandwidthMiBps: new(int64(1))}
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: crawl})
	lm = env.awaitCopying(t, lm)

	patch := client.MergeFrom(lm.DeepCopy())
	lm.Spec.Options = &v1alpha1.MigrationOptions{BandwidthMiBps: new(int64(500)), MaxDowntimeMilliseconds: new(int64(777))}
	if err := env.client.Patch(t.Context(), lm, patch); err != nil {
		t.Fatal(err)
	}
	changed := time.Now()
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	if took := time.Since(changed); took > 20*time.Second {
		t.Errorf("with its bandwidth raised, the migration took %s more: at 1 MiB/s it would have taken a minute", took)
	}
	if lm.Status.ObservedGeneration != 2 {
		t.Errorf("observedGeneration is %d, want 2", lm.Status.ObservedGeneration)
	}
	env.requireOn(t, g, env.b)
}

func TestUsersMigrateDataWins(t *testing.T) {
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, VNC: &lab.VNC{}, TCPSerials: []int{17002}})
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{
		Domain: g.Name(), TargetNode: env.b.Name(),
		MigrateData: &v1alpha1.MigrateData{
			Graphics: &v1alpha1.GraphicsMigrateData{VNCListenAddress: new("127.0.0.1")},
			// Index 1 is the TCP one; a file is behind index 0.
			Serial: &v1alpha1.SerialMigrateData{ListenAddress: new("127.0.0.1"), Ports: []int32{18000, 18001}},
		},
	})
	env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
	listening, err := env.b.Listening(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprint(listening)
	if !strings.Contains(all, "127.0.0.1:59") || !strings.Contains(all, "127.0.0.1:18001") {
		t.Errorf("the guest's consoles do not listen where the user wants them: %s", all)
	}
}

// TestPortsOfOthersAreNotOffered: a port on which a program of the target listens is given
// to no guest, though no guest of that host has it.
func TestPortsOfOthersAreNotOffered(t *testing.T) {
	const first, last = 10000, 10003 // Of the agents' default range.
	for port := uint16(first); port <= last; port++ {
		if l, err := env.b.Listen(t.Context(), port); err == nil { // Else a guest of another test has it.
			t.Cleanup(func() { _ = l.Close() })
		}
	}
	g := env.startGuest(t, env.a, lab.GuestConfig{TCPSerials: []int{17003}})
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), DryRun: new(true)})
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	requireForecast(t, lm)
	offer := lm.Status.Target.Offer
	if offer == nil || offer.Serial == nil || len(offer.Serial.Ports) == 0 {
		t.Fatalf("no ports are offered: %+v", offer)
	}
	for _, port := range offer.Serial.Ports {
		if port <= last {
			t.Errorf("the port %d is offered, on which another program listens", port)
		}
	}
}
