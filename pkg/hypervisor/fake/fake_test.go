package fake

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const vm = "11111111-2222-3333-4444-555555555555"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is two hosts in a bubble of synctest, and what they told subscribers.
type pair struct {
	*testing.T
	fleet    *Fleet
	a, b     *Host
	onA, onB <-chan hypervisor.Event
}

// withPair runs a test on a guest at node-a.
func withPair(t *testing.T, guest Guest, test func(p *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := NewFleet()
		defer f.Close()
		p := &pair{T: t, fleet: f, a: f.Host("node-a"), b: f.Host("node-b")}
		guest.UUID, guest.Name = vm, "vm"
		p.a.AddGuest(guest)
		p.onA, p.onB = p.a.Subscribe(t.Context(), vm), p.b.Subscribe(t.Context(), vm)
		test(p)
	})
}

func (p *pair) params() hypervisor.MigrateParams {
	return hypervisor.MigrateParams{DestinationURI: p.b.URI(), LiveXML: "<live/>", PersistentXML: "<kept/>", Persist: true}
}

// start starts a migration and returns what it will return.
func (p *pair) start(ctx context.Context, params hypervisor.MigrateParams) <-chan error {
	result := make(chan error, 1)
	go func() { result <- p.a.Migrate(ctx, vm, params) }()
	return result
}

// want checks what a host says of the guest, "" being that it knows none.
func (p *pair) want(h *Host, want string) {
	p.Helper()
	d, err := h.LookupDomain(p.Context(), vm)
	got := fmt.Sprintf("%s/%s", d.State, d.Reason)
	if d.Persistent {
		got += " persistent"
	}
	if hypervisor.IsNoDomain(err) {
		got = ""
	} else if err != nil {
		got = err.Error()
	}
	if got != want {
		p.Errorf("%s has %q, want %q", h.Name(), got, want)
	}
}

func (p *pair) wantKind(err error, want hypervisor.Kind) {
	p.Helper()
	if got := hypervisor.KindOf(err); got != want {
		p.Errorf("error is of kind %q, want %q: %v", got, want, err)
	}
}

// wantEvents checks all events so far.
func (p *pair) wantEvents(events <-chan hypervisor.Event, want string) {
	p.Helper()
	var got []string
	for len(events) > 0 {
		switch event := <-events; event.Type {
		case hypervisor.EventLifecycle:
			got = append(got, string(event.Lifecycle)+"/"+event.Detail)
		case hypervisor.EventIteration:
			got = append(got, strconv.FormatUint(event.Iteration, 10))
		default:
			got = append(got, string(event.Type))
		}
	}
	if text := strings.Join(got, " "); text != want {
		p.Errorf("events are\n%q, want\n%q", text, want)
	}
}

func TestMigrateMovesAGuest(t *testing.T) {
	tests := []struct {
		name                 string
		guest                Guest
		persist              bool
		bandwidth            uint64
		wantA, wantB         string
		wantOnA, wantOnB     string
		wantDowntimeAtSource bool
	}{
		{
			name: "persistent", guest: Guest{Persistent: true}, persist: true,
			wantB:   "Running/Migrated persistent",
			wantOnA: "1 2 Suspended/Migrated 3 Stopped/Migrated JobCompleted",
			wantOnB: "Started/Migrated Defined/Added Resumed/Migrated",
		},
		{
			name:    "transient",
			wantB:   "Running/Migrated",
			wantOnA: "1 2 Suspended/Migrated 3 Stopped/Migrated JobCompleted",
			wantOnB: "Started/Migrated Resumed/Migrated",
		},
		{
			name: "definition stays", guest: Guest{Persistent: true},
			wantA: "Shutoff/Migrated persistent", wantB: "Running/Migrated",
			wantOnA: "1 2 Suspended/Migrated 3 Stopped/Migrated JobCompleted",
			wantOnB: "Started/Migrated Resumed/Migrated", wantDowntimeAtSource: true,
		},
		{
			name: "busy", guest: Guest{Persistent: true, DirtyBytesPerSecond: 6 << 20, WorkingSetBytes: 32 << 20},
			persist: true, bandwidth: 40,
			wantB:   "Running/Migrated persistent",
			wantOnA: "1 2 3 Suspended/Migrated 4 Stopped/Migrated JobCompleted",
			wantOnB: "Started/Migrated Defined/Added Resumed/Migrated",
		},
		{
			name:  "paused by its user",
			guest: Guest{Persistent: true, State: hypervisor.StatePaused, Reason: hypervisor.ReasonUser}, persist: true,
			wantB:   "Paused/User persistent",
			wantOnA: "1 2 3 Stopped/Migrated JobCompleted",
			wantOnB: "Started/Migrated Defined/Added Suspended/Paused",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			withPair(t, test.guest, func(p *pair) {
				params := p.params()
				params.Persist, params.BandwidthMiBps = test.persist, test.bandwidth
				if err := p.a.Migrate(p.Context(), vm, params); err != nil {
					t.Fatal(err)
				}
				p.want(p.a, test.wantA)
				p.want(p.b, test.wantB)
				p.wantEvents(p.onA, test.wantOnA)
				p.wantEvents(p.onB, test.wantOnB)
				stats, err := p.b.CompletedJobStats(p.Context(), vm)
				if err != nil || stats.Type != hypervisor.JobCompleted || stats.Operation != hypervisor.OperationMigrationIn ||
					!stats.DowntimeKnown || stats.Memory.ProcessedBytes < stats.Memory.TotalBytes {
					t.Errorf("statistics at the destination are %+v, %v", stats, err)
				}
				stats, err = p.a.CompletedJobStats(p.Context(), vm)
				if test.wantDowntimeAtSource && (err != nil || stats.Operation != hypervisor.OperationMigrationOut) {
					t.Errorf("statistics at the source are %+v, %v", stats, err)
				}
				xml, err := p.b.DomainXML(p.Context(), vm, hypervisor.XMLMigratable)
				if err != nil || string(xml) != "<live/>" {
					t.Errorf("the live definition is %q, %v", string(xml), err)
				}
			})
		})
	}
}

func TestMigratePersistsTheOldDefinitionWithoutANewOne(t *testing.T) {
	withPair(t, Guest{Persistent: true, PersistentXML: "<old/>"}, func(p *pair) {
		params := p.params()
		params.PersistentXML = ""
		if err := p.a.Migrate(p.Context(), vm, params); err != nil {
			t.Fatal(err)
		}
		xml, err := p.b.DomainXML(p.Context(), vm, hypervisor.XMLInactive)
		if err != nil || string(xml) != "<old/>" {
			t.Errorf("the persistent definition is %q, %v", string(xml), err)
		}
	})
}

func TestMigrateConvergesWhenItIsAllowedTo(t *testing.T) {
	guest := Guest{MemoryBytes: 1 << 30, DirtyBytesPerSecond: 200 << 20, WorkingSetBytes: 400 << 20}
	withPair(t, guest, func(p *pair) {
		params := p.params()
		params.Persist, params.BandwidthMiBps = false, 100
		result := p.start(p.Context(), params)
		time.Sleep(10 * time.Minute)
		stats, err := p.a.JobStats(p.Context(), vm)
		if err != nil || !stats.MigratingOut() || stats.MemoryIteration < 100 || stats.MemoryDirtyBytesPerSecond != 100<<20 ||
			stats.Downtime != 4*time.Second || stats.Memory.RemainingBytes == 0 || stats.Memory.RemainingBytes > 400<<20 {
			t.Errorf("statistics are %+v, %v", stats, err)
		}
		if err := p.a.SetMaxDowntime(p.Context(), vm, 1000); err != nil {
			t.Error(err)
		}
		if err := p.a.SetBandwidth(p.Context(), vm, 1000); err != nil {
			t.Error(err)
		}
		begin := time.Now()
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("it took %v to converge", took)
		}
		stats, err = p.b.CompletedJobStats(p.Context(), vm)
		if err != nil || stats.Downtime > time.Second || stats.Downtime < 50*time.Millisecond {
			t.Errorf("statistics are %+v, %v", stats, err)
		}
	})
}

func TestStatisticsOnTheWay(t *testing.T) {
	withPair(t, Guest{MemoryBytes: 1 << 30}, func(p *pair) {
		preparing := p.fleet.Hold(vm, StagePreparing)
		switched := p.fleet.Hold(vm, StageSwitched)
		stats := func(h *Host) hypervisor.JobStats {
			stats, err := h.JobStats(p.Context(), vm)
			if err != nil {
				t.Error(err)
			}
			return stats
		}
		if got := stats(p.a); got.Type != hypervisor.JobNone {
			t.Errorf("before: %+v", got)
		}
		params := p.params()
		params.BandwidthMiBps = 64
		result := p.start(p.Context(), params)
		<-preparing.Reached()
		if got := stats(p.a); !got.MigratingOut() || got.Memory.TotalBytes != 0 || got.DowntimeKnown {
			t.Errorf("preparing: %+v", got)
		}
		p.want(p.b, "")
		preparing.Release()
		time.Sleep(prepareTime + setupTime + 4*time.Second)
		got := stats(p.a)
		want := hypervisor.Transfer{TotalBytes: 1 << 30, ProcessedBytes: 256 << 20, RemainingBytes: 768 << 20, BytesPerSecond: 64 << 20}
		if got.Memory != want || got.MemoryIteration != 1 || got.Downtime != defaultMaxDowntime {
			t.Errorf("copying: %+v", got)
		}
		if got := stats(p.b); !got.Active() || got.Operation != hypervisor.OperationMigrationIn {
			t.Errorf("at the destination: %+v", got)
		}
		p.want(p.b, "Paused/Migration")
		<-switched.Reached()
		p.want(p.a, "Paused/Migration")
		p.want(p.b, "Running/Migrated persistent")
		if got := stats(p.a); !got.MigratingOut() {
			t.Errorf("switched: %+v", got)
		}
		if err := p.a.AbortJob(p.Context(), vm); err != nil {
			t.Error(err)
		}
		switched.Release()
		if err := <-result; err != nil {
			t.Errorf("an abort after the switch took effect: %v", err)
		}
	})
}

func TestAbortJob(t *testing.T) {
	for _, stage := range []Stage{StagePreparing, StageCopying, StageStopped} {
		t.Run(fmt.Sprint(stage), func(t *testing.T) {
			withPair(t, Guest{Persistent: true}, func(p *pair) {
				if err := p.a.AbortJob(p.Context(), vm); err != nil {
					t.Errorf("aborting without a job: %v", err)
				}
				gate := p.fleet.Hold(vm, stage)
				result := p.start(p.Context(), p.params())
				<-gate.Reached()
				if stage > StagePreparing {
					p.wantKind(p.b.AbortJob(p.Context(), vm), hypervisor.KindOperationInvalid)
				}
				for range 2 {
					if err := p.a.AbortJob(p.Context(), vm); err != nil {
						t.Error(err)
					}
				}
				stats, err := p.a.JobStats(p.Context(), vm)
				if err != nil || stats.Type != hypervisor.JobCancelled {
					t.Errorf("statistics are %+v, %v", stats, err)
				}
				p.wantKind(<-result, hypervisor.KindAborted)
				p.want(p.b, "")
				switch stage {
				case StagePreparing:
					p.want(p.a, "Running/Booted persistent")
					p.wantEvents(p.onA, "")
					p.wantEvents(p.onB, "")
				case StageCopying:
					p.want(p.a, "Running/Booted persistent")
					p.wantEvents(p.onA, "1")
					p.wantEvents(p.onB, "Started/Migrated Stopped/Failed")
				default:
					p.want(p.a, "Running/MigrationCanceled persistent")
					p.wantEvents(p.onA, "1 2 Suspended/Migrated 3 Resumed/Migrated")
					p.wantEvents(p.onB, "Started/Migrated Stopped/Failed")
				}
				// The guest can be migrated again.
				if err := p.a.Migrate(p.Context(), vm, p.params()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestMigrateRefusals(t *testing.T) {
	tests := []struct {
		name   string
		guest  Guest
		change func(*pair, *hypervisor.MigrateParams)
		want   hypervisor.Kind
	}{
		{"no definition", Guest{}, func(_ *pair, m *hypervisor.MigrateParams) { m.LiveXML = "" }, hypervisor.KindOther},
		{"unknown domain", Guest{}, func(p *pair, _ *hypervisor.MigrateParams) { p.a.RemoveGuest(vm) }, hypervisor.KindNoDomain},
		{"shut off", Guest{State: hypervisor.StateShutoff}, func(*pair, *hypervisor.MigrateParams) {}, hypervisor.KindOperationInvalid},
		{"unsafe", Guest{Unsafe: true}, func(*pair, *hypervisor.MigrateParams) {}, hypervisor.KindUnsafe},
		{"unsafe is allowed", Guest{Unsafe: true}, func(_ *pair, m *hypervisor.MigrateParams) { m.AllowUnsafe = true }, ""},
		{"unknown host", Guest{}, func(_ *pair, m *hypervisor.MigrateParams) { m.DestinationURI = "qemu+tcp://nowhere/system" }, hypervisor.KindPeerLost},
		{"no URI", Guest{}, func(_ *pair, m *hypervisor.MigrateParams) { m.DestinationURI = "::" }, hypervisor.KindPeerLost},
		{"address", Guest{}, func(p *pair, m *hypervisor.MigrateParams) {
			p.b.AddAddress("192.0.2.2")
			m.DestinationURI = "qemu+tls://192.0.2.2:16514/system"
		}, ""},
		{"same host", Guest{}, func(p *pair, m *hypervisor.MigrateParams) { m.DestinationURI = p.a.URI() }, hypervisor.KindOther},
		{"daemon is down", Guest{}, func(p *pair, _ *hypervisor.MigrateParams) { p.b.KillDaemon() }, hypervisor.KindPeerLost},
		{"runs there", Guest{}, func(p *pair, _ *hypervisor.MigrateParams) { p.b.AddGuest(Guest{UUID: vm, Name: "vm"}) }, hypervisor.KindOperationInvalid},
		{"defined there", Guest{}, func(p *pair, _ *hypervisor.MigrateParams) {
			p.b.AddGuest(Guest{UUID: vm, Name: "vm", Persistent: true, State: hypervisor.StateShutoff})
		}, ""},
		{"name is taken", Guest{}, func(p *pair, _ *hypervisor.MigrateParams) { p.b.AddGuest(Guest{UUID: "other", Name: "vm"}) }, hypervisor.KindOther},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			withPair(t, test.guest, func(p *pair) {
				params := p.params()
				test.change(p, &params)
				p.wantKind(p.a.Migrate(p.Context(), vm, params), test.want)
			})
		})
	}
}

func TestMigrateTwice(t *testing.T) {
	withPair(t, Guest{}, func(p *pair) {
		gate := p.fleet.Hold(vm, StageCopying)
		result := p.start(p.Context(), p.params())
		<-gate.Reached()
		p.wantKind(p.a.Migrate(p.Context(), vm, p.params()), hypervisor.KindOperationInvalid)
		p.wantKind(p.b.Migrate(p.Context(), vm, p.params()), hypervisor.KindBusy)
		p.wantKind(p.b.SetMaxDowntime(p.Context(), vm, 1), hypervisor.KindBusy)
		gate.Release()
		if err := <-result; err != nil {
			t.Error(err)
		}
		calls := p.fleet.Calls()
		if n := p.fleet.Count(MethodMigrate, vm); n != 3 || p.a.Count(MethodMigrate, vm) != 2 || p.b.Count(MethodMigrate, "other") != 0 {
			t.Errorf("counted %d calls in %+v", n, calls)
		}
		first := calls[slices.IndexFunc(calls, func(c Call) bool { return c.Method == MethodMigrate })]
		if first.Host != "node-a" || first.Params.DestinationURI != p.b.URI() || !first.Returned || first.Err != nil {
			t.Errorf("the first call is %+v", first)
		}
	})
}

func TestHostReads(t *testing.T) {
	withPair(t, Guest{Persistent: true}, func(p *pair) {
		p.a.AddGuest(Guest{UUID: "1", Name: "another", MemoryBytes: 5})
		domains, err := p.a.ListDomains(p.Context())
		want := []hypervisor.Domain{
			{UUID: "1", Name: "another", ID: 2, State: hypervisor.StateRunning, Reason: hypervisor.ReasonBooted, MemoryBytes: 5},
			{UUID: vm, Name: "vm", ID: 1, State: hypervisor.StateRunning, Reason: hypervisor.ReasonBooted, Persistent: true, MemoryBytes: 128 << 20},
		}
		if err != nil || !slices.Equal(domains, want) {
			t.Errorf("domains are %+v, %v", domains, err)
		}
		a, errA := p.a.HostInfo(p.Context())
		b, errB := p.b.HostInfo(p.Context())
		if errA != nil || errB != nil || a.UUID == b.UUID || a.Hostname != "node-a" {
			t.Errorf("hosts are %+v and %+v", a, b)
		}
		p.b.SetInfo(hypervisor.HostInfo{UUID: a.UUID})
		if b, err := p.b.HostInfo(p.Context()); err != nil || b.UUID != a.UUID {
			t.Errorf("host is %+v, %v", b, err)
		}
		_, err = p.a.DomainXML(p.Context(), "unknown", hypervisor.XMLMigratable)
		p.wantKind(err, hypervisor.KindNoDomain)
		_, err = p.a.JobStats(p.Context(), "unknown")
		p.wantKind(err, hypervisor.KindNoDomain)
		_, err = p.a.CompletedJobStats(p.Context(), "unknown")
		p.wantKind(err, hypervisor.KindNoDomain)
		for _, err := range []error{
			p.a.AbortJob(p.Context(), "unknown"), p.a.Undefine(p.Context(), "unknown"), p.a.DestroyIncoming(p.Context(), "unknown"),
			p.a.SetMaxDowntime(p.Context(), vm, 1), p.a.SetBandwidth(p.Context(), vm, 1),
		} {
			if err != nil {
				t.Error(err)
			}
		}
	})
}

func TestCleaner(t *testing.T) {
	withPair(t, Guest{Persistent: true}, func(p *pair) {
		p.wantKind(p.a.Undefine(p.Context(), vm), hypervisor.KindOperationInvalid)
		p.wantKind(p.a.DestroyIncoming(p.Context(), vm), hypervisor.KindOperationInvalid)
		gate := p.fleet.Hold(vm, StageStopped)
		result := p.start(p.Context(), p.params())
		<-gate.Reached()
		p.wantKind(p.a.DestroyIncoming(p.Context(), vm), hypervisor.KindOperationInvalid)
		if err := p.b.DestroyIncoming(p.Context(), vm); err != nil {
			t.Error(err)
		}
		p.wantKind(<-result, hypervisor.KindOther)
		p.want(p.a, "Running/MigrationCanceled persistent")
		p.want(p.b, "")
		p.wantEvents(p.onB, "Started/Migrated Shutdown/Host Stopped/Destroyed")
		p.fleet.PowerOff(vm)
		p.want(p.a, "Shutoff/Shutdown persistent")
		if err := p.a.DestroyIncoming(p.Context(), vm); err != nil {
			t.Error(err)
		}
		if err := p.a.Undefine(p.Context(), vm); err != nil {
			t.Error(err)
		}
		p.want(p.a, "")
	})
}
