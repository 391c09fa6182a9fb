//go:build e2e

package libvirt

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/test/lab"
)

// story is a migration with something that happens in the middle of it.
type story struct {
	name   string
	config lab.GuestConfig
	// drop is whether the migration leaves persistence out, and paused whether
	// the guest's user has paused it before.
	drop, paused bool
	// postCopy is whether it switches to post-copy, on a network so slow that
	// there is time to look.
	postCopy bool
	// both happens on real and on fake hosts alike once memory is copied or, with
	// postCopy, once the guest runs at the destination; after that, real or fake
	// happens, and afterwards when the migration has returned.
	both, afterwards func(n *notes, a, b hypervisor.Hypervisor)

	real func(t *testing.T, a, b *Client, guest *lab.Guest)
	fake func(t *testing.T, fleet *fake.Fleet, a, b *fake.Host, uuid string)
	// settle takes out of an ending what differs from time to time.
	settle func(end *ending)
}

// ending is all that can be seen of a migration, but for codes of errors: which
// of two libvirts notices first that an emulator died is a matter of luck.
type ending struct {
	Kind                 hypervisor.Kind
	Source, Target       string
	AtSource, AtTarget   []string
	SourceJob, TargetJob string
	Notes                []string
}

var stories = []story{
	{name: "persistent", config: lab.GuestConfig{Persistent: true}},
	{name: "transient"},
	{name: "definition-stays", config: lab.GuestConfig{Persistent: true}, drop: true},
	{name: "paused", config: lab.GuestConfig{Persistent: true}, paused: true},
	{
		name: "power-off", config: lab.GuestConfig{Persistent: true},
		real: powerOffReal,
		fake: func(_ *testing.T, fleet *fake.Fleet, _, _ *fake.Host, uuid string) { fleet.PowerOff(uuid) },
	},
	{
		name: "power-off-transient",
		real: powerOffReal,
		fake: func(_ *testing.T, fleet *fake.Fleet, _, _ *fake.Host, uuid string) { fleet.PowerOff(uuid) },
	},
	{
		name: "abort", config: lab.GuestConfig{Persistent: true},
		real: func(t *testing.T, a, _ *Client, guest *lab.Guest) { check(t, a.AbortJob(t.Context(), guest.UUID())) },
		fake: func(t *testing.T, _ *fake.Fleet, a, _ *fake.Host, uuid string) {
			check(t, a.AbortJob(t.Context(), uuid))
		},
	},
	{
		name: "destroy-incoming", config: lab.GuestConfig{Persistent: true},
		real: func(t *testing.T, _, b *Client, guest *lab.Guest) {
			check(t, b.DestroyIncoming(t.Context(), guest.UUID()))
		},
		fake: func(t *testing.T, _ *fake.Fleet, _, b *fake.Host, uuid string) {
			check(t, b.DestroyIncoming(t.Context(), uuid))
		},
	},
	{
		name: "kill-source-daemon", config: lab.GuestConfig{Persistent: true},
		real: func(t *testing.T, a, b *Client, _ *lab.Guest) { restartDaemon(t, nodeA()) },
		fake: func(_ *testing.T, _ *fake.Fleet, a, _ *fake.Host, _ string) {
			a.KillDaemon()
			a.Reconnect()
		},
	},
	{
		name: "kill-target-daemon", config: lab.GuestConfig{Persistent: true},
		real: func(t *testing.T, a, b *Client, _ *lab.Guest) { restartDaemon(t, nodeB()) },
		fake: func(_ *testing.T, _ *fake.Fleet, _, b *fake.Host, _ string) {
			b.KillDaemon()
			b.Reconnect()
		},
	},
	{
		name: "kill-source-emulator", config: lab.GuestConfig{Persistent: true},
		real: func(t *testing.T, _, _ *Client, guest *lab.Guest) { check(t, nodeA().KillQEMU(guest.Name())) },
	},
	{
		name: "kill-target-emulator", config: lab.GuestConfig{Persistent: true},
		real: func(t *testing.T, _, _ *Client, guest *lab.Guest) { check(t, nodeB().KillQEMU(guest.Name())) },
	},
}

// scripted are the stories whose fake counterpart is a script.
var scripted = map[string]fake.Ending{
	"kill-source-emulator": fake.EndsCrashed,
	"kill-target-emulator": fake.EndsTargetLost,
	"lost-in-post-copy":    fake.EndsGuestLost,
}

func powerOffReal(t *testing.T, _, _ *Client, guest *lab.Guest) {
	_, err := guest.Command(t.Context(), nodeA(), "poweroff")
	check(t, err)
}

func restartDaemon(t *testing.T, host *lab.Host) {
	signalDaemon(t, host, syscall.SIGKILL)
	check(t, host.StartLibvirtd(t.Context()))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// TestE2EFakeBehavesAsTheRealThing tells every story on real hosts and on fake
// ones and compares the endings.
func TestE2EFakeBehavesAsTheRealThing(t *testing.T) {
	for _, s := range slices.Concat(stories, steered) {
		t.Run(s.name, func(t *testing.T) {
			s.config.Name = s.name
			var got ending
			synctest.Test(t, func(t *testing.T) { got = s.onFakeHosts(t) })
			want := s.onRealHosts(t)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("the fake ends with\n%+v, the real thing with\n%+v", got, want)
			}
			t.Logf("%+v", want)
		})
	}
}

func (s story) onRealHosts(t *testing.T) ending {
	a, b := startClient(t, nodeA(), Config{}), startClient(t, nodeB(), Config{})
	guest := startGuest(t, nodeA(), s.config)
	if _, err := guest.Ticks().Wait(t.Context(), "node-a", 1); err != nil {
		t.Fatal(err)
	}
	if s.paused {
		if _, err := nodeA().Virsh(t.Context(), "suspend", guest.Name()); err != nil {
			t.Fatal(err)
		}
	}
	params := paramsFor(t, a, guest.UUID(), nodeB())
	if s.postCopy {
		check(t, nodeA().LimitBandwidth(t.Context(), storyMiBps))
		t.Cleanup(func() { check(t, nodeA().ClearShaping(context.Background())) })
		limitSendBuffers(t, nodeA())
	}
	var meanwhile func()
	if s.real != nil {
		meanwhile = func() { s.real(t, a, b, guest) }
	}
	return s.tell(t, a, b, guest.UUID(), params, meanwhile)
}

// limitSendBuffers has a page that a guest waits for in post-copy queue behind 64 KiB of
// others at most. With the kernel's 4 MiB and a slow network, each takes half a second, and
// most of the memory has arrived before the guest runs.
func limitSendBuffers(t *testing.T, host *lab.Host) {
	const setting = "/proc/sys/net/ipv4/tcp_wmem"
	before, err := host.Exec(t.Context(), "cat", setting)
	check(t, err)
	set := func(ctx context.Context, sizes string) {
		_, err := host.Exec(ctx, "sh", "-c", fmt.Sprintf("echo '%s' > %s", sizes, setting))
		check(t, err)
	}
	t.Cleanup(func() { set(context.Background(), strings.TrimSpace(before)) })
	set(t.Context(), "4096 16384 65536")
}

func (s story) onFakeHosts(t *testing.T) ending {
	const uuid = "11111111-2222-3333-4444-555555555555"
	fleet := fake.NewFleet()
	if s.postCopy {
		fleet = fake.NewFleet(fake.WithBandwidth(storyMiBps << 20))
	}
	defer fleet.Close()
	a, b := fleet.Host("node-a"), fleet.Host("node-b")
	config := fake.Guest{UUID: uuid, Name: s.name, Persistent: s.config.Persistent, MemoryBytes: 64 << 20}
	if s.paused {
		config.State, config.Reason = hypervisor.StatePaused, hypervisor.ReasonUser
	}
	a.AddGuest(config)
	params := hypervisor.MigrateParams{DestinationURI: b.URI(), LiveXML: "x", Persist: config.Persistent}
	var meanwhile func()
	switch {
	case s.fake != nil:
		meanwhile = func() { s.fake(t, fleet, a, b, uuid) }
	case s.real != nil:
		fleet.ScriptNext(uuid, fake.Script{Ending: scripted[s.name]})
		meanwhile = func() {}
		if !s.postCopy {
			meanwhile = func() { check(t, a.SetBandwidth(t.Context(), uuid, 0)) }
		}
	}
	return s.tell(t, a, b, uuid, params, meanwhile)
}

// tell migrates and describes the ending once both sides have settled.
func (s story) tell(t *testing.T, a, b hypervisor.Hypervisor, uuid string, params hypervisor.MigrateParams, meanwhile func()) ending {
	t.Helper()
	onA, onB := record(t, a, uuid), record(t, b, uuid)
	if s.drop {
		params.Persist, params.PersistentXML = false, ""
	}
	n := &notes{T: t, uuid: uuid, params: params}
	steered := meanwhile != nil || s.both != nil
	if steered {
		params.BandwidthMiBps, params.PostCopy = 4, s.postCopy
	}
	result := startMigration(t.Context(), a, uuid, params)
	if steered {
		awaitCopying(t, a, uuid)
	}
	if s.postCopy {
		n.switchToPostCopy(a, b)
	}
	if s.both != nil {
		s.both(n, a, b)
	}
	if meanwhile != nil {
		meanwhile()
	}
	err := <-result
	t.Logf("the migration ends with %v", err)
	if s.afterwards != nil {
		s.afterwards(n, a, b)
	}
	// Time for a daemon to come back and clean up, and for the last events.
	time.Sleep(1500 * time.Millisecond)
	end := ending{Notes: n.texts}
	end.Kind = hypervisor.KindOf(err)
	end.Source, end.SourceJob = sideOf(t.Context(), a, uuid)
	end.Target, end.TargetJob = sideOf(t.Context(), b, uuid)
	end.AtSource, end.AtTarget = onA.summary(), onB.summary()
	if s.settle != nil {
		s.settle(&end)
	}
	return end
}

// sideOf describes what a host knows of a domain and of its jobs.
func sideOf(ctx context.Context, h hypervisor.Hypervisor, uuid string) (state, job string) {
	domain, err := h.LookupDomain(ctx, uuid)
	if err != nil {
		return string(hypervisor.KindOf(err)), ""
	}
	now, nowErr := h.JobStats(ctx, uuid)
	last, lastErr := h.CompletedJobStats(ctx, uuid)
	state = fmt.Sprintf("%s/%s, persistent %v", domain.State, domain.Reason, domain.Persistent)
	return state, fmt.Sprint(now.Type, nowErr, "; ", last.Type, last.Operation, last.DowntimeKnown, lastErr)
}

// summary lists the events, with iterations in a row as one.
func (r *recorder) summary() []string {
	var names []string
	for _, event := range r.all() {
		name := event.String()
		if event.Type == hypervisor.EventIteration {
			name = "Iteration"
		}
		if name == "Iteration" && len(names) > 0 && names[len(names)-1] == name {
			continue
		}
		names = append(names, name)
	}
	return names
}
