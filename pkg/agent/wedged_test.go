package agent

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestAWedgedGuest does not make its node disconnected, and the others are shown as
// they are.
func TestAWedgedGuest(t *testing.T) {
	const other, late = "22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333"
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("agent restarted: %t", restarted), func(t *testing.T) {
			whilePublishing(t, func(p *publishing) {
				p.host.AddGuest(fake.Guest{UUID: other, Name: "db", Persistent: true})
				p.start()
				release := p.host.Wedge(guestUUID)
				if restarted {
					p.stop()
					p.start()
				}
				p.flip(other, true)
				p.host.AddGuest(fake.Guest{UUID: late, Name: "late", State: hypervisor.StatePaused, Reason: hypervisor.ReasonUser})
				p.flip(late, false)
				p.pass(time.Minute)
				now := p.api.requireShown(t)
				if !now.Connected || !strings.Contains(now.Message, "web") {
					t.Errorf("it says %t: %s", now.Connected, now.Message)
				}
				states := map[string]string{}
				for _, d := range now.Status.Domains {
					states[d.UUID] = d.State
				}
				want := map[string]string{guestUUID: "Running", other: "Paused", late: "Running"}
				if restarted {
					// Nothing told the new agent of it.
					delete(want, late)
					delete(states, late)
				}
				if !reflect.DeepEqual(states, want) {
					t.Errorf("the guests are shown as %v, want %v", states, want)
				}
				if n := p.host.Hanging(fake.MethodLookupDomain); n > 1 {
					t.Errorf("%d calls hang", n)
				}
				// It takes one of libvirt's workers each time.
				if n := p.host.Count(fake.MethodLookupDomain, guestUUID); n != 1 && !restarted || n > 2 {
					t.Errorf("it was looked up %d times", n)
				}
				release()
				p.pass(time.Minute)
				if now := p.api.requireShown(t); now.Message != "" || len(now.Status.Domains) != 3 {
					t.Errorf("afterwards it says %+v", now)
				}
			})
		})
	}
}

// TestManyWedgedGuests: libvirt counts as not answering when there are more than a few.
func TestManyWedgedGuests(t *testing.T) {
	id := func(n int) string { return fmt.Sprintf("%08d-1111-4111-8111-111111111111", n) }
	for stuck, connected := range map[int]bool{maxStuck: true, maxStuck + 1: false} {
		t.Run(fmt.Sprintf("%d of them", stuck), func(t *testing.T) {
			whilePublishing(t, func(p *publishing) {
				for n := range stuck {
					p.host.AddGuest(fake.Guest{UUID: id(n), Name: fmt.Sprint("db", n), Persistent: true})
				}
				p.start()
				var release []func()
				for n := range stuck {
					release = append(release, p.host.Wedge(id(n)))
				}
				defer func() {
					for _, let := range release {
						let()
					}
				}()
				p.pass(3 * time.Minute)
				now := p.api.requireShown(t)
				if now.Connected != connected || len(now.Status.Domains) != stuck+1 {
					t.Errorf("connected %t with %d guests: %s", now.Connected, len(now.Status.Domains), now.Message)
				}
				for n := range stuck {
					if !strings.Contains(now.Message, fmt.Sprint("db", n)) && connected {
						t.Errorf("nobody is told of guest %d: %s", n, now.Message)
					}
				}
				if n := p.host.Hanging(fake.MethodLookupDomain); n > maxStuck+1 {
					t.Errorf("%d calls hang", n)
				}
			})
		})
	}
}

// TestNoneOfManyGuestsAnswers: what is known of them is never shown as if libvirt told it.
func TestNoneOfManyGuestsAnswers(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.host.RemoveGuest(guestUUID)
		const guests = maxStuck + 1
		id := func(n int) string { return fmt.Sprintf("%08d-1111-4111-8111-111111111111", n) }
		for n := range guests {
			p.host.AddGuest(fake.Guest{UUID: id(n), Name: fmt.Sprint("db", n), Persistent: true})
		}
		p.start()
		var release []func()
		for n := range guests {
			release = append(release, p.host.Wedge(id(n)))
		}
		defer func() {
			for _, let := range release {
				let()
			}
		}()
		p.pass(3 * time.Minute)
		for i, said := range p.api.said {
			if len(said.Status.Domains) != guests || said.Connected != (i == 0) {
				t.Errorf("at number %d, connected is %t with %d guests: %s", i, said.Connected, len(said.Status.Domains), said.Message)
			}
		}
		if len(p.api.said) != 2 {
			t.Errorf("there were %d publications", len(p.api.said))
		}
	})
}

// TestALibvirtThatCannotList its guests, of which none is known, is not one without guests.
func TestALibvirtThatCannotList(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.host.RemoveGuest(guestUUID)
		defer p.host.Hang(fake.MethodListDomains)()
		p.start()
		p.pass(time.Minute)
		if now := p.api.requireShown(t); now.Connected {
			t.Errorf("it says %+v", now)
		}
	})
}

// TestTheGuestsOfANode: where one of them holds libvirt up, the others are not waited for, and
// the one that is asked for is as it is now.
func TestTheGuestsOfANode(t *testing.T) {
	const other = "22222222-2222-4222-8222-222222222222"
	whilePublishing(t, func(p *publishing) {
		p.host.AddGuest(fake.Guest{UUID: other, Name: "db", Persistent: true})
		p.start()
		states := func(want map[string]hypervisor.State, stuck bool) {
			t.Helper()
			all, err := p.node.guests(t.Context(), guestUUID)
			got := map[string]hypervisor.State{}
			for _, d := range all.domains {
				got[d.Name] = d.State
			}
			if err != nil || !reflect.DeepEqual(got, want) || len(all.domains) != len(want) || all.stuck[other] != stuck {
				t.Errorf("the guests are %v, stuck %v: %v", got, all.stuck, err)
			}
		}
		states(map[string]hypervisor.State{"web": hypervisor.StateRunning, "db": hypervisor.StateRunning}, false)
		defer p.host.Wedge(other)()
		p.pass(time.Minute)
		lists := p.host.Count(fake.MethodListDomains, "")
		p.host.SetState(guestUUID, hypervisor.StatePaused, hypervisor.ReasonUser)
		states(map[string]hypervisor.State{"web": hypervisor.StatePaused, "db": hypervisor.StateRunning}, true)
		p.host.RemoveGuest(guestUUID)
		states(map[string]hypervisor.State{"db": hypervisor.StateRunning}, true)
		if n := p.host.Count(fake.MethodListDomains, "") - lists; n != 0 {
			t.Errorf("libvirt was asked for the whole list %d times", n)
		}
		p.host.FailNext(fake.MethodLookupDomain, errors.New("no"))
		if _, err := p.node.guests(t.Context(), guestUUID); err == nil {
			t.Error("that the guest could not be read is not told")
		}
	})
}

// TestALibvirtThatDoesNotAnswer for any guest is not connected.
func TestALibvirtThatDoesNotAnswer(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.start()
		defer p.host.Hang(fake.MethodListDomains)()
		defer p.host.Hang(fake.MethodLookupDomain)()
		defer p.host.Hang(fake.MethodHostInfo)()
		p.pass(2 * time.Minute)
		if now := p.api.requireShown(t); now.Connected || len(now.Status.Domains) != 1 {
			t.Errorf("it says %+v", now)
		}
	})
}
