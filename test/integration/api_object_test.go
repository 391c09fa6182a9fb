//go:build integration

package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestFreshObjectIsInProgress looks at an object that no manager has seen: tools
// must not take it for finished.
func TestFreshObjectIsInProgress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := objectWith(t, "{domain: web, targetNode: b}")
	o.SetNamespace(w.name)
	// Users do not write the status.
	o.Object["status"] = map[string]any{"phase": "Succeeded", "observedGeneration": int64(1)}
	w.create(o)
	if diff := cmp.Diff(map[string]any{"observedGeneration": int64(-1)}, o.Object["status"]); diff != "" {
		t.Errorf("the status differs (-want +got):\n%s", diff)
	}
	result, err := status.Compute(o)
	if err != nil || result.Status != status.InProgressStatus {
		t.Errorf("kstatus is %v, %v", result, err)
	}
}

// Messages of the rules on completionTime.
const (
	writtenOnce  = "completionTime is written once"
	neverRemoved = "completionTime is never removed"
)

func TestCompletionTimeIsWrittenOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lm := w.newMigration(w.newGuest("web"), "b")
	w.create(lm)
	write := func(completed *metav1.Time, phase v1alpha1.LiveMigrationPhase) error {
		changed := lm.DeepCopy()
		changed.Status.CompletionTime, changed.Status.Phase = completed, phase
		err := cluster.client.Status().Update(t.Context(), changed)
		if err == nil {
			lm = changed
		}
		return err
	}
	first := metav1.NewTime(time.Now().Truncate(time.Second))
	if err := write(&first, v1alpha1.PhaseFailed); err != nil {
		t.Fatal(err)
	}
	requireRefused(t, write(&metav1.Time{Time: first.Add(time.Second)}, v1alpha1.PhaseFailed), "status.completionTime", writtenOnce)
	requireRefused(t, write(nil, v1alpha1.PhaseFailed), "status", neverRemoved)
	if err := write(&first, v1alpha1.PhaseUnknown); err != nil {
		t.Errorf("a write beside it fails: %v", err)
	}
}

// Messages of the rules on the agents' sections.
const (
	currentSource = "source must be about the current attempt"
	currentTarget = "target must be about the current attempt"
)

// TestSectionsAreAboutTheCurrentAttempt: a late report on another attempt, perhaps
// of another object of the same name, takes no section's place. What is there may
// stay until the new attempt's agents report.
func TestSectionsAreAboutTheCurrentAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lm := w.newMigration(w.newGuest("web"), "b")
	w.create(lm)
	section := func(id string) map[string]any { return map[string]any{"attemptID": id} }
	for i, c := range []struct {
		status  map[string]any
		refusal string
	}{
		{map[string]any{"source": section("1")}, currentSource},
		{map[string]any{"target": section("1")}, currentTarget},
		{map[string]any{"attempt": map[string]any{"id": "1", "admittedTime": microNow()}}, ""},
		{map[string]any{"source": section("2")}, currentSource},
		{map[string]any{"target": section("2")}, currentTarget},
		{map[string]any{"source": section("1"), "target": section("1")}, ""},
		{map[string]any{"source": section("2")}, currentSource},
		{map[string]any{"target": section("2")}, currentTarget},
		{map[string]any{"attempt": map[string]any{"id": "2"}}, ""},
		{map[string]any{"source": map[string]any{"guest": map[string]any{"name": "web"}}}, ""},
		{map[string]any{"source": section("2"), "target": section("2")}, ""},
		{map[string]any{"source": section("1")}, currentSource},
		{map[string]any{"target": section("1")}, currentTarget},
		{map[string]any{"attempt": nil}, ""},
	} {
		err := setStatus(t, cluster.client, lm, c.status)
		if c.refusal != "" {
			requireRefused(t, err, "status", c.refusal)
		} else if err != nil {
			t.Errorf("write %d: %v", i, err)
		}
	}
}

// TestSelectableFields lists and watches by each of the fields.
func TestSelectableFields(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	set := func(lm *v1alpha1.LiveMigration, letter string) *v1alpha1.LiveMigration {
		w.create(lm)
		lm.Status.Phase, lm.Status.DomainUUID = v1alpha1.PhaseMigrating, "11111111-1111-4111-8111-11111111111"+letter
		lm.Status.SourceNode, lm.Status.TargetNode = "source-"+letter, "target-"+letter
		lm.Status.GuestLeftFrozenOn = lm.Status.TargetNode
		if letter == "b" {
			lm.Status.Phase = v1alpha1.PhaseFailed
		}
		if err := cluster.client.Status().Update(t.Context(), lm); err != nil {
			t.Fatal(err)
		}
		return lm
	}
	wanted := set(w.newMigration(w.newGuest("web"), "a"), "a")
	other := set(w.newMigration(w.newGuest("db"), "b"), "b")
	for field, value := range map[string]string{
		"spec.domain": wanted.Spec.Domain, "spec.targetNode": wanted.Spec.TargetNode, "status.phase": string(wanted.Status.Phase),
		"status.domainUUID": wanted.Status.DomainUUID, "status.sourceNode": wanted.Status.SourceNode, "status.targetNode": wanted.Status.TargetNode,
		"status.guestLeftFrozenOn": wanted.Status.GuestLeftFrozenOn,
	} {
		t.Run(field, func(t *testing.T) {
			selector := client.MatchingFields{field: value}
			list := &v1alpha1.LiveMigrationList{}
			if err := cluster.client.List(t.Context(), list, client.InNamespace(w.name), selector); err != nil {
				t.Fatal(err)
			}
			if len(list.Items) != 1 || list.Items[0].UID != wanted.UID {
				t.Errorf("the list has %d objects", len(list.Items))
			}
			// The watch brings what is selected only, to begin with and later.
			events, err := cluster.client.Watch(t.Context(), &v1alpha1.LiveMigrationList{}, client.InNamespace(w.name), selector)
			if err != nil {
				t.Fatal(err)
			}
			defer events.Stop()
			for _, lm := range []*v1alpha1.LiveMigration{other, wanted} {
				if err := cluster.client.Get(t.Context(), client.ObjectKeyFromObject(lm), lm); err != nil {
					t.Fatal(err)
				}
				lm.Annotations = map[string]string{"seen-by": field}
				if err := cluster.client.Update(t.Context(), lm); err != nil {
					t.Fatal(err)
				}
			}
			awaitAnnotated(t, events, wanted, field)
		})
	}
}

// awaitAnnotated fails if a watch brings any object but the wanted one before that
// one has the annotation.
func awaitAnnotated(t *testing.T, events watch.Interface, wanted *v1alpha1.LiveMigration, value string) {
	t.Helper()
	for {
		select {
		case event := <-events.ResultChan():
			lm, ok := event.Object.(*v1alpha1.LiveMigration)
			if !ok || lm.UID != wanted.UID {
				t.Fatalf("the watch brought %v", event)
			}
			if lm.Annotations["seen-by"] == value {
				return
			}
		case <-time.After(patience):
			t.Fatal("the watch brought nothing")
		}
	}
}

func TestShortNames(t *testing.T) {
	t.Parallel()
	d, err := discovery.NewDiscoveryClientForConfig(cluster.config)
	if err != nil {
		t.Fatal(err)
	}
	list, err := d.ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, r := range list.APIResources {
		if !strings.Contains(r.Name, "/") {
			got[r.Name] = append(slices.Clone(r.ShortNames), r.Categories...)
		}
	}
	want := map[string][]string{"livemigrations": {"lm", "virtferry"}, "hypervisors": {"hv", "virtferry"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the names differ (-want +got):\n%s", diff)
	}
}

// table asks the API server for what kubectl prints of an object.
func table(t *testing.T, path string) metav1.Table {
	t.Helper()
	gv := v1alpha1.GroupVersion
	restConfig := rest.CopyConfig(cluster.config)
	restConfig.GroupVersion, restConfig.APIPath = &gv, "/apis"
	restConfig.NegotiatedSerializer = serializer.NewCodecFactory(cluster.scheme).WithoutConversion()
	api, err := rest.RESTClientFor(restConfig)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := api.Get().AbsPath("/apis", gv.Group, gv.Version, path).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out metav1.Table
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// printed returns the columns of a priority up to the given one, and how wide
// kubectl prints them: three spaces lie between two columns.
func printed(out metav1.Table, priority int32) (header []string, width int) {
	for i, column := range out.ColumnDefinitions {
		if column.Priority > priority {
			continue
		}
		widest := len(column.Name)
		for _, row := range out.Rows {
			if text, ok := row.Cells[i].(string); ok {
				widest = max(widest, len(text))
			} else if raw, err := json.Marshal(row.Cells[i]); err == nil {
				widest = max(widest, len(raw))
			}
		}
		header = append(header, column.Name)
		width += widest + 3
	}
	return header, width - 3
}

// TestPrintedColumns looks at a migration, with names as people give them, in
// each of its phases as `kubectl get` prints it.
func TestPrintedColumns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lm := w.newMigration(guest{name: "web-01"}, "b")
	lm.GenerateName, lm.Name, lm.Spec.TargetNode = "", "web-01-to-rack2-n07", "rack2-n07"
	w.create(lm)
	for _, phase := range []v1alpha1.LiveMigrationPhase{
		v1alpha1.PhasePending, v1alpha1.PhasePreparing, v1alpha1.PhaseMigrating, v1alpha1.PhaseConfirming, v1alpha1.PhaseCancelling,
		v1alpha1.PhaseSucceeded, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled, v1alpha1.PhaseUnknown,
	} {
		lm.Status.Phase, lm.Status.SourceNode = phase, "rack1-n12"
		lm.Status.Progress = &v1alpha1.ProgressStatus{Percent: 100, ElapsedMilliseconds: 4600}
		lm.Status.DowntimeMilliseconds = new(int64(179))
		lm.Status.Conditions = []metav1.Condition{{
			Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonMigrated,
			Message: "The guest runs on rack2-n07", LastTransitionTime: metav1.Now(),
		}}
		if err := cluster.client.Status().Update(t.Context(), lm); err != nil {
			t.Fatal(err)
		}
		out := table(t, "namespaces/"+w.name+"/livemigrations/"+lm.Name)
		header, width := printed(out, 0)
		if diff := cmp.Diff([]string{"Name", "Domain", "Source", "Target", "Phase", "%", "Age"}, header); diff != "" {
			t.Fatalf("the columns differ (-want +got):\n%s", diff)
		}
		// The age, which has no more than its heading's three characters now,
		// comes to five, as in 7d23h.
		if width += 2; width > 80 {
			t.Errorf("in phase %s a line is %d characters wide", phase, width)
		}
		wide, _ := printed(out, 1)
		if diff := cmp.Diff([]string{"Guest", "Reason", "Downtime-ms", "Elapsed-ms", "Message"}, wide[len(header):]); diff != "" {
			t.Fatalf("the wide columns differ (-want +got):\n%s", diff)
		}
		cells := out.Rows[0].Cells
		want := []any{lm.Name, "web-01", "rack1-n12", "rack2-n07", string(phase), 100.0, cells[6], nil, "Migrated", 179.0, 4600.0, "The guest runs on rack2-n07"}
		if diff := cmp.Diff(want, cells); diff != "" {
			t.Errorf("the cells differ (-want +got):\n%s", diff)
		}
	}
}

// TestPrintedHypervisors looks at a node as `kubectl get` prints it.
func TestPrintedHypervisors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.startAgent("a")
	out := table(t, "hypervisors/"+a.node)
	header, _ := printed(out, 1)
	if diff := cmp.Diff([]string{"Name", "Ready", "Guests", "Address", "Libvirt", "Qemu", "Age", "CPU", "CPUs", "Kernel", "Post-copy", "TLS", "Message"}, header); diff != "" {
		t.Errorf("the columns differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{nil, "192.0.2.1", "9.0.0", "7.2.0"}, out.Rows[0].Cells[2:6]); diff != "" {
		t.Errorf("the cells differ (-want +got):\n%s", diff)
	}
}

// Messages of the rules on what the source has said of the start and the end.
const (
	startStays = "startRequestedTime is never removed"
	endStays   = "end is never removed"
)

// TestTheStartAndTheEndAreNotTakenBack: a report of the source's agent that was delayed
// on its way, and arrives behind a later one, is refused.
func TestTheStartAndTheEndAreNotTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lm := w.newMigration(w.newGuest("web"), "b")
	w.create(lm)
	end := map[string]any{"call": "Succeeded", "domain": map[string]any{"state": "Absent"}, "time": microNow()}
	for i, c := range []struct {
		attempt string
		source  map[string]any
		refusal string
	}{
		{"1", map[string]any{}, ""},
		{"1", map[string]any{"startRequestedTime": microNow()}, ""},
		{"1", map[string]any{"startRequestedTime": nil}, startStays},
		{"1", map[string]any{"end": end}, ""},
		{"1", map[string]any{"end": nil}, endStays},
		{"1", map[string]any{"guestPaused": true}, ""},
		{"1", map[string]any{"guestPaused": nil}, ""},
	} {
		c.source["attemptID"] = c.attempt
		err := setStatus(t, cluster.client, lm, map[string]any{
			"attempt": map[string]any{"id": c.attempt, "admittedTime": microNow()}, "source": c.source,
		})
		if c.refusal != "" {
			requireRefused(t, err, "status.source", c.refusal)
		} else if err != nil {
			t.Errorf("step %d: %v", i, err)
		}
	}
}

// Messages of the rules on what is never removed.
const (
	sourceStays   = "source is never removed"
	targetStays   = "target is never removed"
	progressStays = "progress is never removed"
	attemptStays  = "an attempt that has started is never removed or replaced"
	partsStay     = "the guest and the nodes of an attempt that has started are never changed"
)

// TestSectionsAreNeverRemoved, by whoever may write them: a migration that has lost
// the word of its start would be started again, or be said never to have started.
func TestSectionsAreNeverRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.newAgent("a"), w.newAgent("b")
	lm := w.underWay(a.node, b.node)
	admin := cluster.client
	section, progress := map[string]any{"attemptID": "1"}, map[string]any{"percent": 1}
	bySource := func(status map[string]any) error {
		return applyStatus(t, a.client, v1alpha1.OwnerSourceAgent, lm, status)
	}
	byTarget := func(status map[string]any) error {
		return applyStatus(t, b.client, v1alpha1.OwnerTargetAgent, lm, status)
	}
	byAnybody := func(status map[string]any) error { return setStatus(t, admin, lm, status) }
	for i, c := range []struct {
		write   func(map[string]any) error
		status  map[string]any
		refusal string
	}{
		{bySource, map[string]any{"source": section, "progress": progress}, ""},
		{bySource, map[string]any{"progress": progress}, sourceStays},
		{bySource, map[string]any{"source": section}, progressStays},
		{byAnybody, map[string]any{"target": nil}, targetStays},
		{byAnybody, map[string]any{"source": nil, "attempt": nil}, sourceStays},
		{byAnybody, map[string]any{"target": nil, "attempt": nil}, targetStays},
		{byAnybody, map[string]any{"progress": nil, "attempt": nil}, progressStays},
		// The manager looks for the guest again. The sections stay until others of the
		// next attempt take their place.
		{byAnybody, map[string]any{"attempt": nil}, ""},
		{byAnybody, map[string]any{"source": nil}, sourceStays},
		{byAnybody, map[string]any{"attempt": map[string]any{"id": "2", "admittedTime": microNow()}}, ""},
		{byAnybody, map[string]any{"target": nil}, targetStays},
		{byTarget, map[string]any{"target": map[string]any{"attemptID": "2"}}, ""},
		{bySource, map[string]any{"source": map[string]any{"attemptID": "2", "startRequestedTime": microNow()}, "progress": progress}, ""},
		{byAnybody, map[string]any{"attempt": nil}, attemptStays},
		{byAnybody, map[string]any{"attempt": map[string]any{"id": "3"}}, attemptStays},
		{byAnybody, map[string]any{"attempt": map[string]any{"endSeenTime": microNow()}}, ""},
		// The agents there, and nobody else, have to do with that guest and know of it.
		{byAnybody, map[string]any{"sourceNode": b.node}, partsStay},
		{byAnybody, map[string]any{"sourceNode": nil}, partsStay},
		{byAnybody, map[string]any{"targetNode": a.node}, partsStay},
		{byAnybody, map[string]any{"domainUUID": "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11"}, partsStay},
	} {
		err := c.write(c.status)
		if c.refusal != "" {
			requireRefused(t, err, "status", c.refusal)
		} else if err != nil {
			t.Errorf("write %d: %v", i, err)
		}
	}
	// A status that is left out as a whole is the default one.
	bare := &unstructured.Unstructured{}
	bare.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("LiveMigration"))
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(lm), bare); err != nil {
		t.Fatal(err)
	}
	delete(bare.Object, "status")
	requireRefused(t, admin.Status().Update(t.Context(), bare), "status", attemptStays)
}

// TestEndpointsOfTargets: what is no address of a host is refused.
func TestEndpointsOfTargets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.newAgent("a"), w.newAgent("b")
	lm := w.underWay(a.node, b.node)
	set := func(transport, address string) error {
		return applyStatus(t, b.client, v1alpha1.OwnerTargetAgent, lm, map[string]any{"target": map[string]any{"endpoint": map[string]any{"transport": transport, "address": address}}})
	}
	for _, address := range []string{"192.0.2.2", "169.254.1.1", "2001:db8::1", "fe80::1", "node-b", "node-b.example.com"} {
		if err := set("tls", address); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, address := range []string{
		"127.0.0.1", "::1", "0.0.0.0", "::ffff:192.0.2.2", "fe80::1%eth0", "[2001:db8::1]", "b/system?command=x", "u@b", "-oProxyCommand=x", "b:1", "b b", "B",
	} {
		requireRefused(t, set("tls", address), "status.target.endpoint.address", badAddress)
	}
	data := func(address string) error {
		return applyStatus(t, b.client, v1alpha1.OwnerTargetAgent, lm, map[string]any{"target": map[string]any{
			"endpoint": map[string]any{"transport": "tls", "address": "node-b", "dataAddress": address},
		}})
	}
	for _, ok := range []string{"198.51.100.2", "2001:db8::1", "node-b.data.example.com"} {
		if err := data(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	requireRefused(t, data("b?x=y"), "status.target.endpoint.dataAddress", badDataAddress)
	disks := func(address string) error {
		return applyStatus(t, b.client, v1alpha1.OwnerTargetAgent, lm, map[string]any{"target": map[string]any{
			"endpoint": map[string]any{"transport": "tls", "address": "node-b", "disksAddress": address},
		}})
	}
	for _, ok := range []string{"198.51.100.2", "2001:db8::1"} {
		if err := disks(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"b", "198.51.100.2?x=y", "[2001:db8::1]", "fe80::1", "127.0.0.1"} {
		requireRefused(t, disks(bad), "status.target.endpoint.disksAddress", badDisksAddress)
	}
	name := func(name string) error {
		return applyStatus(t, b.client, v1alpha1.OwnerTargetAgent, lm, map[string]any{"target": map[string]any{
			"host": map[string]any{"migrationTLS": map[string]any{"ready": true, "serverName": name}},
		}})
	}
	for _, ok := range []string{"192.0.2.2", "2001:db8::1", "node-b.example.com"} {
		if err := name(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	requireRefused(t, name("b?no_verify=1"), "status.target.host.migrationTLS.serverName", badServerName)
	requireRefused(t, set("ext", "node-b"), "status.target.endpoint.transport", `supported values: "tls", "tcp", "ssh", "unix"`)
}

const (
	badDisksAddress = "disksAddress must be an IP address of a host, without brackets, which is not link-local"
	badDataAddress  = "dataAddress must be the IP address of a host, without brackets, or a DNS name in lower case"
	badAddress      = "address must be the IP address of a host, without brackets, or a DNS name in lower case"
	badServerName   = "serverName must be an IP address or a DNS name in lower case"
)
