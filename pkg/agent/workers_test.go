package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

func TestTheNumberOfWorkersIsReadNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := fake.NewFleet(fake.WithWorkers(30, 5))
		defer fleet.Close()
		host := fleet.Host("node-a")
		p := NewPublisher(&Node{Hypervisor: host, Clock: clock.RealClock{}, Log: logr.Discard()}, nil)
		want := func(when string, workers int32, reads int) {
			t.Helper()
			if got := p.maxWorkers(t.Context()); got != workers {
				t.Errorf("%s: libvirt has %d workers, want %d", when, got, workers)
			}
			if got := host.Count(fake.MethodMaxWorkers, ""); got != reads {
				t.Errorf("%s: it was asked %d times, want %d", when, got, reads)
			}
		}
		host.FailNext(fake.MethodMaxWorkers, fake.Error(hypervisor.KindTimeout, "no answer"))
		want("where it does not answer", 0, 1)
		time.Sleep(workersInterval)
		want("a minute later", 30, 2)
		want("right after that", 30, 2)
		host.FailNext(fake.MethodMaxWorkers, fake.Error(hypervisor.KindTimeout, "no answer"))
		time.Sleep(workersInterval)
		want("where it does not answer any more", 30, 3)
	})
}
