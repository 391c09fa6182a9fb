package agent

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestRefusals: what is in the way has a code of its own, and libvirt is not asked to migrate.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(w *world)
		reason  string
		codes   []v1alpha1.BlockerCode
	}{
		{"the same guest is active on the target", func(w *world) {
			w.fleet.Host("node-b").AddGuest(fake.Guest{UUID: guestUUID, Name: "web"})
		}, v1alpha1.ReasonTargetCheckFailed, []v1alpha1.BlockerCode{v1alpha1.BlockerGuestActiveOnTarget}},
		{"another guest of the name is on the target", func(w *world) {
			w.fleet.Host("node-b").AddGuest(fake.Guest{UUID: "33333333-3333-4333-8333-333333333333", Name: "web"})
		}, v1alpha1.ReasonTargetCheckFailed, []v1alpha1.BlockerCode{v1alpha1.BlockerNameTaken}},
		{"both hosts have the same UUID", func(w *world) {
			w.fleet.Host("node-a").SetInfo(hypervisor.HostInfo{UUID: "same"})
			w.fleet.Host("node-b").SetInfo(hypervisor.HostInfo{UUID: "same"})
		}, v1alpha1.ReasonTargetCheckFailed, []v1alpha1.BlockerCode{v1alpha1.BlockerHostUUIDNotUnique}},
		{"the guest has left the source", func(w *world) { w.fleet.Host("node-a").RemoveGuest(guestUUID) }, v1alpha1.ReasonDomainNotOnSource, []v1alpha1.BlockerCode{v1alpha1.BlockerDomainNotOnSource}},
		{"the guest is in another migration", func(w *world) {
			w.fleet.Host("node-a").SetState(guestUUID, hypervisor.StatePaused, hypervisor.ReasonMigration)
		}, v1alpha1.ReasonSourceCheckFailed, []v1alpha1.BlockerCode{v1alpha1.BlockerJobRunning}},
		{"the definition cannot be read", func(w *world) {
			w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", LiveXML: "<domain"})
		}, v1alpha1.ReasonSourceCheckFailed, []v1alpha1.BlockerCode{v1alpha1.BlockerDefinitionUnreadable}},
		{"there are snapshots of the guest", func(w *world) {
			w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Ties: hypervisor.Ties{Snapshots: 2}})
		}, v1alpha1.ReasonSourceCheckFailed, []v1alpha1.BlockerCode{v1alpha1.BlockerSnapshotsKept}},
		{"there are checkpoints of the guest", func(w *world) {
			w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Ties: hypervisor.Ties{Checkpoints: 1}})
		}, v1alpha1.ReasonSourceCheckFailed, []v1alpha1.BlockerCode{v1alpha1.BlockerCheckpointsKept}},
		{"there are both", func(w *world) {
			w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Ties: hypervisor.Ties{Snapshots: 1, Checkpoints: 1}})
		}, v1alpha1.ReasonSourceCheckFailed, []v1alpha1.BlockerCode{v1alpha1.BlockerSnapshotsKept, v1alpha1.BlockerCheckpointsKept}},
		{"a disk of the guest is being copied", func(w *world) {
			w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Ties: hypervisor.Ties{BlockJobs: []string{"vda", "vdb"}}})
		}, v1alpha1.ReasonSourceCheckFailed, []v1alpha1.BlockerCode{v1alpha1.BlockerJobRunning}},
		{"the target lacks a secret", func(w *world) {
			w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", LiveXML: encrypted})
		}, v1alpha1.ReasonTargetCheckFailed, []v1alpha1.BlockerCode{v1alpha1.BlockerSecretMissing}},
		{"too few ports are free", func(w *world) {
			var xml strings.Builder
			xml.WriteString("<domain type='qemu'><name>web</name><uuid>" + guestUUID + "</uuid><devices>")
			for i := range 20 {
				fmt.Fprintf(&xml, "<serial type='tcp'><source mode='bind' host='192.0.2.9' service='%d'/><target port='%d'/></serial>", 15000+i, i)
			}
			xml.WriteString("</devices></domain>")
			w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", LiveXML: hypervisor.DomainXML(xml.String())})
		}, v1alpha1.ReasonTargetCheckFailed, []v1alpha1.BlockerCode{v1alpha1.BlockerPortsExhausted}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				c.prepare(w)
				lm := w.settle(w.migrate(guestUUID))
				if lm.Status.Phase != v1alpha1.PhaseFailed || reason(lm) != c.reason {
					t.Errorf("the end is %s %s, want Failed %s", lm.Status.Phase, reason(lm), c.reason)
				}
				if codes := blockersOf(lm); !slices.Equal(codes, c.codes) {
					t.Errorf("the blockers are %v, want %v: %s", codes, c.codes, message(lm))
				}
				if n := w.fleet.Count(fake.MethodMigrate, guestUUID); n != 0 {
					t.Error("libvirt was asked to migrate")
				}
			})
		})
	}
}

// TestABlockJobMayBeOver where libvirt is known not to end all of them: its user is told.
func TestABlockJobMayBeOver(t *testing.T) {
	const told = "Wait until that has ended, or ask an administrator to end it with `virsh blockjob`, and then create another LiveMigration. " +
		"libvirt 9.0.0 on node-a does not end all block jobs properly"
	for version, want := range map[string]bool{"8.10.0": false, "9.0.0": true, "9.1.0": false} {
		inWorld(t, func(w *world) {
			w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Ties: hypervisor.Ties{BlockJobs: []string{"vda"}}})
			w.fleet.Host("node-a").SetVersions(version, "7.2.0")
			lm := w.settle(w.migrate(guestUUID))
			if got := message(lm); strings.Contains(got, told) != want || strings.Contains(got, "ignoreKnownFaults") || !slices.Equal(blockersOf(lm), []v1alpha1.BlockerCode{v1alpha1.BlockerJobRunning}) {
				t.Errorf("with libvirt %s, the message is %s", version, got)
			}
		})
	}
}

// blockersOf are the codes of what the first side that refuses a migration has found.
func blockersOf(lm *v1alpha1.LiveMigration) []v1alpha1.BlockerCode {
	var problem *v1alpha1.Problem
	if s := lm.Status.Target; s != nil {
		problem = s.Problem
	}
	if s := lm.Status.Source; s != nil && s.Problem != nil {
		problem = s.Problem
	}
	var codes []v1alpha1.BlockerCode
	if problem != nil {
		for _, b := range problem.Blockers {
			codes = append(codes, b.Code)
		}
	}
	return codes
}

// TestPostCopyThatTheTargetCannotReceive is refused before anything is touched, unless the guest
// stands paused, which needs none.
func TestPostCopyThatTheTargetCannotReceive(t *testing.T) {
	for name, c := range map[string]struct {
		setting string
		root    bool
		paused  bool
		options v1alpha1.MigrationOptions
		refused bool
	}{
		"it cannot":                   {setting: "0", options: v1alpha1.MigrationOptions{AllowPostCopy: new(true)}, refused: true},
		"everybody may":               {setting: "1", options: v1alpha1.MigrationOptions{AllowPostCopy: new(true)}},
		"QEMU runs as root":           {setting: "0", root: true, options: v1alpha1.MigrationOptions{AllowPostCopy: new(true)}},
		"nothing is known":            {options: v1alpha1.MigrationOptions{AllowPostCopy: new(true)}},
		"it is not to be switched":    {setting: "0"},
		"the guest stands paused":     {setting: "0", paused: true, options: v1alpha1.MigrationOptions{AllowPostCopy: new(true)}},
		"it is expressly not allowed": {setting: "0", options: v1alpha1.MigrationOptions{AllowPostCopy: new(false)}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.b.system = fstest.MapFS{}
				if c.setting != "" {
					w.b.system = fstest.MapFS{"proc/sys/vm/unprivileged_userfaultfd": {Data: []byte(c.setting + "\n")}}
				}
				w.b.restart()
				if c.root {
					w.fleet.Host("node-b").SetFacts(func(f *hypervisor.HostFacts) {
						caps := *f.Capabilities
						caps.Emulator = &hypervisor.EmulatorUser{}
						f.Capabilities = &caps
					})
				}
				if c.paused {
					w.fleet.Host("node-a").SetState(guestUUID, hypervisor.StatePaused, hypervisor.ReasonUser)
				}
				lm := w.settle(w.migrateWith(guestUUID, options(c.options)))
				if !c.refused {
					if lm.Status.Phase != v1alpha1.PhaseSucceeded {
						t.Errorf("it ends in %s: %s", lm.Status.Phase, message(lm))
					}
					return
				}
				p := lm.Status.Target.Problem
				if p == nil || len(p.Blockers) != 1 || p.Blockers[0].Code != v1alpha1.BlockerPostCopyUnavailable || !strings.Contains(p.Message, "vm.unprivileged_userfaultfd") {
					t.Errorf("the problem is %+v", p)
				}
			})
		})
	}
}

// TestEachBlockerHasATest: whoever adds one is held to what it says and when.
func TestEachBlockerHasATest(t *testing.T) {
	t.Parallel()
	var tests strings.Builder
	for _, root := range []string{"..", "../../controllers", "../../test"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			tests.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	declared := regexp.MustCompile(`\tBlocker\w+ BlockerCode = "(\w+)"`)
	text, err := os.ReadFile("../../api/v1alpha1/observation_types.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := declared.FindAllStringSubmatch(string(text), -1)
	if len(codes) < 40 {
		t.Errorf("there are only %d blockers", len(codes))
	}
	for _, code := range codes {
		if !strings.Contains(tests.String(), "v1alpha1.Blocker"+code[1]) && !strings.Contains(tests.String(), `"`+code[1]+" ") {
			t.Errorf("nothing tests the blocker %s", code[1])
		}
	}
}
