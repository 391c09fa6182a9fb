package agent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// afterTheEnd runs a test in a bubble, with the session of a migration that has ended, and
// whose guest runs on the host. What it reports is written where written is set.
func afterTheEnd(t *testing.T, written bool, test func(ctx context.Context, s *sourceSession, host *fake.Host, book *logBook)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fleet := fake.NewFleet()
		defer fleet.Close()
		host := fleet.Host("node-a")
		host.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true})
		var book logBook
		s := startedSession()
		s.hv, s.log, s.lm.Status.DomainUUID = host, book.logger(), guestUUID
		s.section.End = &v1alpha1.SourceEnd{Observation: 4, Domain: v1alpha1.DomainObservation{State: "Running", Reason: "Booted"}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if written {
				s.out.run(ctx)
			}
		}()
		test(ctx, s, host, &book)
		cancel()
		<-ended
	})
}

// TestTheTargetIsAskedToLookAgain by a new number, at once.
func TestTheTargetIsAskedToLookAgain(t *testing.T) {
	afterTheEnd(t, false, func(_ context.Context, s *sourceSession, _ *fake.Host, _ *logBook) {
		s.ask()
		s.ask()
		if s.section.End.Observation != 6 || s.asked.IsZero() || s.out.wait() > 0 {
			t.Errorf("the number is %d, asked at %v, told in %s", s.section.End.Observation, s.asked, s.out.wait())
		}
	})
}

// TestWhatComesOfACleanup is looked at, unless it has failed: then it is tried again.
func TestWhatComesOfACleanup(t *testing.T) {
	for _, fails := range []bool{false, true} {
		afterTheEnd(t, false, func(ctx context.Context, s *sourceSession, host *fake.Host, book *logBook) {
			s.settle(ctx, "Cleaning up", func(context.Context, string) error {
				host.SetState(guestUUID, hypervisor.StateShutoff, hypervisor.ReasonDestroyed)
				if fails {
					return errors.New("no")
				}
				return nil
			})
			if seen := s.section.End.Domain.State == "Shutoff"; seen == fails {
				t.Errorf("fails %t: the guest is said to be %+v", fails, s.section.End.Domain)
			}
			if logged := book.count("The cleanup failed") > 0; logged != fails {
				t.Errorf("fails %t: the log says %q", fails, book.lines)
			}
		})
	}
}

// TestACopyIsPausedOnce, after that is recorded, and again only where libvirt has refused it
// for sure.
func TestACopyIsPausedOnce(t *testing.T) {
	for name, c := range map[string]struct {
		written bool
		err     error
		steps   int
		calls   int
		pausing bool
		logged  string
	}{
		"it cannot be recorded":       {false, nil, 3, 0, true, "Recording the pause of the guest failed"},
		"it is recorded":              {true, nil, 1, 0, true, ""},
		"it is paused":                {true, nil, 2, 1, false, ""},
		"libvirt refuses":             {true, fake.Error(hypervisor.KindOther, "no"), 2, 1, true, "The cleanup failed"},
		"libvirt refuses, and agrees": {true, fake.Error(hypervisor.KindOther, "no"), 3, 2, false, "The cleanup failed"},
		"libvirt does not answer":     {true, fake.Error(hypervisor.KindTimeout, "no answer"), 2, 1, false, "It is not known whether the pause took effect"},
	} {
		t.Run(name, func(t *testing.T) {
			afterTheEnd(t, c.written, func(ctx context.Context, s *sourceSession, host *fake.Host, book *logBook) {
				if c.err != nil {
					host.FailNext(fake.MethodSuspend, c.err)
				}
				for range c.steps {
					s.pauseCopy(ctx)
				}
				if n := host.Count(fake.MethodSuspend, guestUUID); n != c.calls || s.pausing != c.pausing || s.section.End.CopyPausedTime == nil {
					t.Errorf("it was paused %d times, is to be: %t, recorded %v", n, s.pausing, s.section.End.CopyPausedTime)
				}
				for _, line := range []string{"Recording the pause of the guest failed", "The cleanup failed", "It is not known whether the pause took effect"} {
					if logged := book.count(line) > 0; logged != (line == c.logged) {
						t.Errorf("%q is logged: %t", line, logged)
					}
				}
				paused := c.calls > 0 && !c.pausing && c.err == nil
				if shown := s.section.End.Domain.State == "Paused"; paused && !shown {
					t.Errorf("the guest is said to be %+v", s.section.End.Domain)
				}
			})
		})
	}
}

// TestADefinitionThatIsLeft is told to be gone once it is.
func TestADefinitionThatIsLeft(t *testing.T) {
	for _, fails := range []bool{false, true} {
		afterTheEnd(t, false, func(ctx context.Context, s *sourceSession, host *fake.Host, _ *logBook) {
			host.SetState(guestUUID, hypervisor.StateShutoff, hypervisor.ReasonMigrated)
			s.section.End.Domain = v1alpha1.DomainObservation{State: "Shutoff", Reason: "Migrated", Defined: true}
			if fails {
				host.FailNext(fake.MethodUndefine, errors.New("no"))
			}
			wait := s.undefine(ctx)
			if s.section.End.Domain.Defined != fails || (wait == 0) == fails || (s.out.wait() > 0) != fails {
				t.Errorf("fails %t: it waits for %s, and says %+v", fails, wait, s.section.End.Domain)
			}
			if _, err := host.LookupDomain(ctx, guestUUID); hypervisor.IsNoDomain(err) == fails {
				t.Errorf("fails %t: on the host there is %v", fails, err)
			}
		})
	}
}
