package agent

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// logBook keeps what is logged.
type logBook struct {
	mu    sync.Mutex
	lines []string
}

func (b *logBook) logger() logr.Logger {
	return funcr.New(func(_, args string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.lines = append(b.lines, args)
	}, funcr.Options{})
}

// count returns how many lines have a text.
func (b *logBook) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, line := range b.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// TestOnlyNewsHasTheNodeLookedAt: libvirt has to go through all guests for it. That of a
// migration's passes is none, nor what the agent has written itself.
func TestOnlyNewsHasTheNodeLookedAt(t *testing.T) {
	emit := func(e hypervisor.Event) func(*publishing) {
		e.UUID = guestUUID
		return func(p *publishing) { p.host.Emit(e) }
	}
	for name, c := range map[string]struct {
		happens func(*publishing)
		looks   int
	}{
		"a pass":                            {emit(hypervisor.Event{Type: hypervisor.EventIteration, Iteration: 2}), 0},
		"a job that has ended":              {emit(hypervisor.Event{Type: hypervisor.EventJobCompleted}), 0},
		"the Hypervisor is as it was":       {func(p *publishing) { p.api.edit(p.api.shown) }, 0},
		"the Hypervisor is gone":            {func(p *publishing) { p.api.edit(nil) }, 1},
		"a guest has changed":               {emit(hypervisor.Event{Type: hypervisor.EventLifecycle, Lifecycle: hypervisor.LifecycleResumed}), 1},
		"events may have been lost":         {emit(hypervisor.Event{Type: hypervisor.EventResync}), 1},
		"nothing, until the interval is up": {func(p *publishing) { p.pass(publishInterval / 2) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			whilePublishing(t, func(p *publishing) {
				p.start()
				before := p.host.Count(fake.MethodListDomains, "")
				c.happens(p)
				p.pass(publishInterval / 2)
				if n := p.host.Count(fake.MethodListDomains, "") - before; n != c.looks {
					t.Errorf("it was looked at %d times, want %d", n, c.looks)
				}
			})
		})
	}
}

// TestTheHostIsReadAgain when the interval has passed: it may have got another version of QEMU.
func TestTheHostIsReadAgain(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.start()
		p.pass(hostInterval - 2*time.Second)
		if n := p.host.Count(fake.MethodHostInfo, ""); n != 1 {
			t.Errorf("before, it was read %d times", n)
		}
		p.pass(time.Second)
		if n := p.host.Count(fake.MethodHostInfo, ""); n != 2 {
			t.Errorf("it was read %d times", n)
		}
	})
}

// TestAHypervisorThatChangesBeforeItIsPublished for the first time is no news.
func TestAHypervisorThatChangesBeforeItIsPublished(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.api.refuse(errors.New("forbidden"))
		p.start()
		p.api.edit(nil)
		p.pass(time.Second)
		p.api.refuse(nil)
		p.pass(publishRetryMost * 5 / 4)
		if writes, _ := p.api.count(); writes != 1 {
			t.Errorf("there were %d publications", writes)
		}
	})
}

// TestTheLastWord of an agent that stops is how things are then, unless that is said, or
// libvirt is away: that says nothing of the guests.
func TestTheLastWord(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(*publishing)
		writes  int
		failed  int
		state   hypervisor.State
	}{
		"a guest has stopped": {func(p *publishing) {
			p.host.SetState(guestUUID, hypervisor.StateShutoff, hypervisor.ReasonMigrated)
		}, 1, 0, hypervisor.StateShutoff},
		"nothing is new":  {func(*publishing) {}, 0, 0, hypervisor.StateRunning},
		"libvirt is away": {func(p *publishing) { p.host.Disconnect() }, 0, 0, hypervisor.StateRunning},
		"a guest has stopped, and the API server takes nothing": {func(p *publishing) {
			p.host.SetState(guestUUID, hypervisor.StateShutoff, hypervisor.ReasonMigrated)
			p.api.refuse(errors.New("forbidden"))
		}, 0, 1, hypervisor.StateRunning},
	} {
		t.Run(name, func(t *testing.T) {
			whilePublishing(t, func(p *publishing) {
				var book logBook
				p.log = book.logger()
				p.start()
				before, _ := p.api.count()
				c.happens(p)
				p.stop()
				if writes, _ := p.api.count(); writes != before+c.writes {
					t.Errorf("there were %d publications, want %d", writes-before, c.writes)
				}
				last := p.api.requireShown(t)
				if d := last.Status.Domains[0]; d.State != string(c.state) || !last.Connected {
					t.Errorf("connected is %t, and the guest is shown as %+v", last.Connected, d)
				}
				if n := book.count("The last update of the Hypervisor failed"); n != c.failed {
					t.Errorf("the log says %d times that it failed: %q", n, book.lines)
				}
			})
		})
	}
}

// TestWhatFailsIsLogged, unless it was the agent's own end that made it fail.
func TestWhatFailsIsLogged(t *testing.T) {
	const publication, heartbeat = "Publishing the Hypervisor failed", "Renewing the lease failed"
	for name, c := range map[string]struct {
		prepare func(*memoryHypervisor)
		logged  bool
	}{
		"all is well": {func(*memoryHypervisor) {}, false},
		"both fail": {func(m *memoryHypervisor) {
			m.refusal, m.unheard = errors.New("forbidden"), errors.New("forbidden")
		}, true},
		"neither is answered before the agent ends": {func(m *memoryHypervisor) { m.deaf = true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			whilePublishing(t, func(p *publishing) {
				var book logBook
				p.log = book.logger()
				c.prepare(p.api)
				p.start()
				p.stop()
				for _, what := range []string{publication, heartbeat} {
					if logged := book.count(what) > 0; logged != c.logged {
						t.Errorf("%q is logged: %t; all that is: %q", what, logged, book.lines)
					}
				}
			})
		})
	}
}

// TestALostSignOfLifeIsRepeatedSoon, and then at intervals that grow up to the ordinary one.
func TestALostSignOfLifeIsRepeatedSoon(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		set := func(unheard error) {
			p.api.mu.Lock()
			defer p.api.mu.Unlock()
			p.api.unheard, p.api.beats = unheard, nil
		}
		p.start()
		for range 2 {
			set(errors.New("unavailable"))
			p.pass(2 * time.Minute)
			p.api.mu.Lock()
			beats := p.api.beats
			p.api.mu.Unlock()
			want := heartbeatRetry
			for i := 1; i < len(beats); i++ {
				most := want + want/4
				if d := beats[i].Sub(beats[i-1]); d < want || d > most {
					t.Errorf("number %d comes %s after the one before, want %s", i, d, want)
				}
				want = min(2*want, HeartbeatInterval)
			}
			if len(beats) < 10 {
				t.Errorf("there were only %d", len(beats))
			}
			set(nil)
			p.pass(time.Minute)
		}
	})
}
