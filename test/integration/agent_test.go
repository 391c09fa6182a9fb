//go:build integration

package integration

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationac "k8s.io/client-go/applyconfigurations/coordination/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/controllers/node"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// agentSim is a node's agent as the API server knows it: its writes and the token
// they are made with are real, its libvirt is whatever the test says.
type agentSim struct {
	t         *testing.T
	node      string
	hostUUID  string
	config    *rest.Config
	client    client.Client
	recorder  *node.Recorder
	publisher *node.HypervisorRecorder

	guests *guestList
	// fallSilent ends the signs of life.
	fallSilent func()
}

// guestList is which guests a node has.
type guestList struct {
	mu      sync.Mutex
	domains []v1alpha1.HypervisorDomain
}

// in is the agent as part of a subtest.
func (a *agentSim) in(t *testing.T) *agentSim {
	t.Helper()
	b := *a
	b.t = t
	return &b
}

// agentConfig returns a configuration with a token like that of a DaemonSet's pod
// on the node. Node and pod are objects only.
func agentConfig(ctx context.Context, nodeName string) (*rest.Config, error) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: agentAccount + "-" + nodeName, Namespace: systemNamespace},
		Spec: corev1.PodSpec{
			NodeName: nodeName, ServiceAccountName: agentAccount,
			Containers: []corev1.Container{{Name: "agent", Image: "virtferry"}},
		},
	}
	for _, object := range []client.Object{&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}, pod} {
		if err := cluster.client.Create(ctx, object); err != nil {
			return nil, fmt.Errorf("creating %s: %w", object.GetName(), err)
		}
	}
	return tokenConfig(ctx, agentAccount, &authenticationv1.BoundObjectReference{
		Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID,
	})
}

// tokenConfig returns a configuration with a token of a service account, bound to
// an object or, if that is nil, to none.
func tokenConfig(ctx context.Context, account string, bound *authenticationv1.BoundObjectReference) (*rest.Config, error) {
	api, err := kubernetes.NewForConfig(cluster.config)
	if err != nil {
		return nil, err
	}
	token, err := api.CoreV1().ServiceAccounts(systemNamespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: bound},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("requesting a token: %w", err)
	}
	c := rest.AnonymousClientConfig(cluster.config)
	c.BearerToken, c.QPS = token.Status.Token, -1
	return c, nil
}

// startAgent makes a node of the world with an agent that is alive and has
// published these guests.
func (w *world) startAgent(letter string, domains ...v1alpha1.HypervisorDomain) *agentSim {
	w.t.Helper()
	a := w.newAgent(letter)
	a.heartbeat()
	a.publish(domains...)
	ctx, cancel := context.WithCancel(w.t.Context())
	a.fallSilent = cancel
	go func() {
		for wait := time.Tick(agent.HeartbeatInterval); ; {
			select {
			case <-ctx.Done():
				return
			case <-wait:
				// One that fails is made good by the next.
				_ = a.publisher.Heartbeat(ctx)
			}
		}
	}()
	return a
}

// newPair makes a world with a guest on its node a, a node b, and a manager.
func newPair(t *testing.T) (w *world, g guest, a, b *agentSim) {
	t.Helper()
	w = newWorld(t)
	g = w.newGuest("web")
	a, b = w.startAgent("a", g.running()), w.startAgent("b")
	w.startManager(clock.RealClock{})
	w.awaitReady("a", "b")
	return w, g, a, b
}

// newAgent makes a node of the world with an agent that has done nothing yet.
func (w *world) newAgent(letter string) *agentSim {
	w.t.Helper()
	name := w.node(letter)
	restConfig, err := agentConfig(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := client.New(restConfig, client.Options{Scheme: cluster.scheme})
	if err != nil {
		w.t.Fatal(err)
	}
	w.create(&v1alpha1.Hypervisor{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{worldLabel: w.name}}})
	return &agentSim{
		t: w.t, node: name, hostUUID: uuid.NewString(), config: restConfig, client: c, guests: &guestList{}, fallSilent: func() {},
		recorder:  node.NewRecorder(c, c, time.Now()),
		publisher: &node.HypervisorRecorder{Client: c, Reader: c, Node: name, Namespace: systemNamespace, Clock: clock.RealClock{}},
	}
}

func (a *agentSim) check(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *agentSim) heartbeat() {
	a.t.Helper()
	a.check(a.publisher.Heartbeat(a.t.Context()))
}

// renewFor gives a last sign of life, which is good for some seconds.
func (a *agentSim) renewFor(seconds int32) error {
	a.fallSilent()
	lease := coordinationac.Lease(v1alpha1.AgentLeaseName(a.node), systemNamespace).WithSpec(coordinationac.LeaseSpec().
		WithHolderIdentity(a.node).WithLeaseDurationSeconds(seconds).WithRenewTime(metav1.NowMicro()))
	return a.client.Apply(a.t.Context(), lease, client.FieldOwner(v1alpha1.OwnerHypervisorAgent), client.ForceOwnership)
}

// publish says which guests the node has.
func (a *agentSim) publish(domains ...v1alpha1.HypervisorDomain) {
	a.t.Helper()
	a.change(func([]v1alpha1.HypervisorDomain) []v1alpha1.HypervisorDomain { return domains })
}

// arrives and leaves publish that a guest has come to the node or gone from it.
func (a *agentSim) arrives(g guest) {
	a.t.Helper()
	a.change(func(ds []v1alpha1.HypervisorDomain) []v1alpha1.HypervisorDomain { return append(ds, g.running()) })
}

func (a *agentSim) leaves(g guest) {
	a.t.Helper()
	a.change(func(ds []v1alpha1.HypervisorDomain) []v1alpha1.HypervisorDomain {
		return slices.DeleteFunc(ds, func(d v1alpha1.HypervisorDomain) bool { return d.UUID == g.uuid })
	})
}

func (a *agentSim) change(change func([]v1alpha1.HypervisorDomain) []v1alpha1.HypervisorDomain) {
	a.t.Helper()
	a.guests.mu.Lock()
	defer a.guests.mu.Unlock()
	a.guests.domains = change(slices.Clone(a.guests.domains))
	a.check(a.report(true, ""))
}

// report publishes the node; libvirt is connected or, for that reason, not.
func (a *agentSim) report(connected bool, message string) error {
	return a.publisher.RecordHypervisor(a.t.Context(), agent.HypervisorReport{
		Connected: connected, Message: message,
		Status: v1alpha1.HypervisorStatus{
			HostUUID: a.hostUUID, LibvirtVersion: "9.0.0", HypervisorVersion: "7.2.0", MigrationAddress: "192.0.2.1", Domains: a.guests.domains,
		},
	})
}

// microNow is the time as agents write it.
func microNow() *metav1.MicroTime { return new(metav1.NowMicro()) }

// asSource changes what the source's agent says of a migration.
func (a *agentSim) asSource(m *move, change func(*agent.SourceReport)) {
	a.t.Helper()
	a.check(a.tryAsSource(m.latest(), false, change))
}

// tryAsSource does so with the object as given if ifUnchanged is set, and else
// with the object as it is now.
func (a *agentSim) tryAsSource(lm *v1alpha1.LiveMigration, ifUnchanged bool, change func(*agent.SourceReport)) error {
	if !ifUnchanged {
		fresh, err := a.recorder.Refresh(a.t.Context(), lm)
		if err != nil {
			return err
		}
		lm = fresh
	}
	report := agent.SourceReport{Section: migration.CurrentSource(lm).DeepCopy(), Progress: lm.Status.Progress.DeepCopy()}
	if report.Section == nil {
		report.Section = &v1alpha1.SourceStatus{AttemptID: lm.Status.Attempt.ID}
	}
	change(&report)
	return a.recorder.RecordSource(a.t.Context(), lm, report, ifUnchanged)
}

// asTarget changes what the target's agent says of a migration.
func (a *agentSim) asTarget(m *move, change func(*v1alpha1.TargetStatus)) {
	a.t.Helper()
	a.check(a.tryAsTarget(m.latest(), change))
}

func (a *agentSim) tryAsTarget(lm *v1alpha1.LiveMigration, change func(*v1alpha1.TargetStatus)) error {
	lm, err := a.recorder.Refresh(a.t.Context(), lm)
	if err != nil {
		return err
	}
	section := migration.CurrentTarget(lm).DeepCopy()
	if section == nil {
		section = &v1alpha1.TargetStatus{AttemptID: lm.Status.Attempt.ID}
	}
	change(section)
	return a.recorder.RecordTarget(a.t.Context(), lm, section)
}

// What agents report, in the order of a migration's life.

func (a *agentSim) checked(r *agent.SourceReport) {
	r.Section.Guest = &v1alpha1.GuestFacts{Name: "guest", HostUUID: a.hostUUID}
}

func ready(s *v1alpha1.TargetStatus) {
	s.ReadyTime = microNow()
	s.Endpoint = &v1alpha1.TargetEndpoint{Transport: v1alpha1.TransportTCP, Address: "192.0.2.2"}
	s.Domain = &v1alpha1.DomainObservation{State: v1alpha1.StateAbsent}
}

func startRequested(r *agent.SourceReport) { r.Section.StartRequestedTime = microNow() }

func jobStarted(r *agent.SourceReport) {
	r.Section.JobStartedTime = microNow()
	progressed(0)(r)
}

const guestBytes = 256 << 20

func progressed(percent int32) func(*agent.SourceReport) {
	return func(r *agent.SourceReport) {
		remaining := int64(guestBytes) * int64(100-percent) / 100
		r.Progress = &v1alpha1.ProgressStatus{
			Percent: percent, ElapsedMilliseconds: int64(percent) * 10,
			Memory: &v1alpha1.TransferStatus{TotalBytes: guestBytes, ProcessedBytes: guestBytes - remaining, RemainingBytes: remaining},
		}
	}
}

// inPostCopy has the guest switched to post-copy.
func inPostCopy(r *agent.SourceReport) {
	r.Section.Steering = &v1alpha1.SteeringStatus{PostCopyTime: microNow()}
}

// sourceDone: libvirt says that the guest was migrated.
func sourceDone(r *agent.SourceReport) {
	r.Section.End = &v1alpha1.SourceEnd{
		Call: v1alpha1.CallSucceeded, Domain: v1alpha1.DomainObservation{State: v1alpha1.StateAbsent}, Time: *microNow(),
	}
	progressed(100)(r)
	r.Progress.DowntimeMilliseconds = new(int64(42))
}

// sourceFailed: libvirt says why the guest was not migrated.
func sourceFailed(kind hypervisor.Kind, message string) func(*agent.SourceReport) {
	return func(r *agent.SourceReport) {
		r.Section.End = &v1alpha1.SourceEnd{
			Call: v1alpha1.CallFailed, ErrorKind: string(kind), ErrorMessage: message,
			Domain: v1alpha1.DomainObservation{State: string(hypervisor.StateRunning)}, Time: *microNow(),
		}
	}
}

// sees: the guest is in that state on the target; confirmed is whether that was
// read after the end on the source.
func sees(state hypervisor.State, confirmed bool) func(*v1alpha1.TargetStatus) {
	return func(s *v1alpha1.TargetStatus) {
		s.Domain = &v1alpha1.DomainObservation{State: string(state)}
		if confirmed {
			s.ConfirmedTime = microNow()
		}
	}
}

// incoming: the guest is the shell of an incoming migration on the target.
func incoming(s *v1alpha1.TargetStatus) {
	s.Domain = &v1alpha1.DomainObservation{State: string(hypervisor.StatePaused), Reason: string(hypervisor.ReasonMigration)}
}

// seesNothing: the target's libvirt does not know the guest.
func seesNothing(s *v1alpha1.TargetStatus) { sees(v1alpha1.StateAbsent, true)(s) }
