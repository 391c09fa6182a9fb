//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	ac "github.com/virtferry/virtferry/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
	"github.com/virtferry/virtferry/test/bench/shuttle"
	"github.com/virtferry/virtferry/test/lab"
)

// serialPort is the TCP port of the guest's serial console on either host.
const serialPort = 10000

// rewrite rewrites a definition for a host of that address, as its agent would
// have it.
func rewrite(xml hypervisor.DomainXML, form hypervisor.XMLForm, address string) ([]byte, error) {
	offer := &v1alpha1.MigrateData{
		Graphics: &v1alpha1.GraphicsMigrateData{VNCListenAddress: &address},
		Serial:   &v1alpha1.SerialMigrateData{ListenAddress: &address, Ports: []int32{serialPort, serialPort + 1, serialPort + 2, serialPort + 3}},
	}
	plan, err := xmlrewrite.NewPlan(xml, nil, xmlrewrite.Options{Offer: offer, Inactive: form == hypervisor.XMLInactive})
	if err != nil {
		return nil, fmt.Errorf("rewriting the definition: %w", err)
	}
	return []byte(plan.Apply()), nil
}

// liveMigration moves the guest by a LiveMigration. The total runs from the
// moment in which the object is applied to the one in which a watch shows its
// success; visible runs to there from the later of libvirt's own two events that
// decide it.
func (b *bench) liveMigration(ctx context.Context, from, to *lab.Host) (move, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	name := fmt.Sprintf("shuttle-%d", b.Moves)
	w, err := b.Watch(ctx, name)
	if err != nil {
		return move{}, err
	}
	defer w.Stop()
	decided := b.awaitDecision(ctx, from, to)
	encryption := v1alpha1.EncryptionDisabled
	if b.encrypt {
		encryption = v1alpha1.EncryptionRequired
	}
	config := ac.LiveMigration(name, shuttle.Namespace).WithSpec(ac.LiveMigrationSpec().WithDomain(b.Guest.UUID()).WithTargetNode(to.Name()).
		WithOptions(ac.MigrationOptions().WithTransfer(ac.TransferOptions().WithEncryption(encryption))))
	begin := time.Now()
	if err := b.API.Apply(ctx, config, client.FieldOwner("bench")); err != nil {
		return move{}, fmt.Errorf("applying: %w", err)
	}
	lm, err := shuttle.Follow(ctx, w, shuttle.Succeeded)
	shown := time.Now()
	if err != nil {
		return move{}, err
	}
	m := move{by: byLiveMigration, total: shown.Sub(begin), steps: steps(lm, begin, shown)}
	select {
	case at := <-decided:
		m.visible = shown.Sub(at)
	case <-ctx.Done():
		return m, errors.New("libvirt's events did not come")
	}
	return m, nil
}

// steps divides the time from begin to shown by the times in the status. All
// clocks are this machine's.
func steps(lm *v1alpha1.LiveMigration, begin, shown time.Time) []step {
	st := lm.Status
	marks := []struct {
		name string
		at   *metav1.MicroTime
	}{
		{"apply to accepted", &st.Attempt.AdmittedTime},
		{"accepted to target ready", st.Target.ReadyTime},
		{"target ready to start requested", st.Source.StartRequestedTime},
		{"start requested to job seen", st.Source.JobStartedTime},
		{"job seen to job ended", &st.Source.End.Time},
		{"job ended to status shown", new(metav1.NewMicroTime(shown))},
	}
	out := make([]step, 0, len(marks))
	at := begin
	for _, mark := range marks {
		if mark.at == nil {
			mark.at = new(metav1.NewMicroTime(at))
		}
		out = append(out, step{name: mark.name, took: mark.at.Sub(at)})
		at = mark.at.Time
	}
	return out
}

// awaitDecision returns when the later of the two events came that decide a
// success: the guest has stopped on the source and resumed on the target.
func (b *bench) awaitDecision(ctx context.Context, from, to *lab.Host) <-chan time.Time {
	decided := make(chan time.Time, 1)
	var wait sync.WaitGroup
	var mu sync.Mutex
	var last time.Time
	for host, lifecycle := range map[*lab.Host]hypervisor.Lifecycle{
		from: hypervisor.LifecycleStopped, to: hypervisor.LifecycleResumed,
	} {
		events := b.clients[host.Name()].Subscribe(ctx, b.Guest.UUID())
		wait.Go(func() {
			for e := range events {
				if e.Type == hypervisor.EventLifecycle && e.Lifecycle == lifecycle && e.Detail == string(hypervisor.ReasonMigrated) {
					mu.Lock()
					last = time.Now()
					mu.Unlock()
					return
				}
			}
		})
	}
	go func() {
		wait.Wait()
		if ctx.Err() == nil {
			decided <- last
		}
	}()
	return decided
}
