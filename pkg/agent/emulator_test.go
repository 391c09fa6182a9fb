package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// TestAGuestThatTheTargetCannotRunIsNotTouched: both sides leave it alone, and the user
// learns why, of all that is wrong at once.
func TestAGuestThatTheTargetCannotRunIsNotTouched(t *testing.T) {
	const uuid = "33333333-3333-4333-8333-333333333333"
	xml := hypervisor.DomainXML(`<domain type='kvm'><name>new</name><uuid>` + uuid + `</uuid>` +
		`<os><type arch='x86_64' machine='pc-q35-11.1'>hvm</type></os>` +
		`<cpu mode='custom' match='exact' check='full'><model>SapphireRapids</model></cpu><devices/></domain>`)
	machine := hypervisor.EmulatorFit{Unsupported: "the machine 'pc-q35-11.1' is not supported by emulator '/usr/bin/qemu-system-x86_64'"}
	cpu := hypervisor.EmulatorFit{CPUProblem: "Host CPU does not provide required features: avx512f"}
	skips := options(v1alpha1.MigrationOptions{SkipCPUCheck: new(true)})
	mended := options(v1alpha1.MigrationOptions{IgnoreKnownFaults: []v1alpha1.KnownFault{v1alpha1.FaultCPURefused}})
	dryRun := func(lm *v1alpha1.LiveMigration) { lm.Spec.DryRun = new(true) }
	asIs := func(*v1alpha1.LiveMigration) {}
	for _, c := range []struct {
		name    string
		fit     hypervisor.EmulatorFit
		libvirt string
		change  func(*v1alpha1.LiveMigration)
		want    []string // Empty is success.
	}{
		{"it can", hypervisor.EmulatorFit{}, "9.0.0", asIs, nil},
		{"it lacks the machine type", machine, "9.0.0", asIs, []string{"x86_64, machine type pc-q35-11.1", "'pc-q35-11.1' is not supported by emulator"}},
		{"it lacks a feature of the CPU", cpu, "9.0.0", asIs, []string{"required features: avx512f", "options.skipCPUCheck"}},
		{"it lacks one, in a dry run", cpu, "9.0.0", dryRun, []string{"required features: avx512f"}},
		{"it seems to lack one", cpu, "9.0.0", skips, nil},
		{"its libvirt is known to be wrong about that", cpu, "10.2.0", asIs, nil},
		{"its libvirt is not wrong about that any more", cpu, "10.2.0", mended, []string{"required features: avx512f"}},
		{"it lacks the machine type, which is not skipped", machine, "10.2.0", skips, []string{"is not supported by emulator"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: uuid, Name: "new", LiveXML: xml})
				w.fleet.Host("node-b").SetEmulatorFit(c.fit)
				w.fleet.Host("node-b").SetVersions(c.libvirt, "7.2.22")
				lm := w.settle(w.migrateWith(uuid, c.change))
				if len(c.want) == 0 {
					if lm.Status.Phase != v1alpha1.PhaseSucceeded {
						t.Fatalf("the migration ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
					}
					return
				}
				condition := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
				if lm.Status.Phase != v1alpha1.PhaseFailed || condition.Reason != v1alpha1.ReasonTargetCheckFailed {
					t.Fatalf("the migration ends in %s: %+v", lm.Status.Phase, condition)
				}
				for _, want := range c.want {
					if !strings.Contains(condition.Message, want) {
						t.Errorf("the message lacks %q: %s", want, condition.Message)
					}
				}
				if n := w.fleet.Count(fake.MethodMigrate, uuid); n != 0 {
					t.Errorf("%d migrations were started", n)
				}
			})
		})
	}
}

// TestAnEmulatorThatIsBeingReplaced is waited for, and one that stays away is not: the user
// learns what helps.
func TestAnEmulatorThatIsBeingReplaced(t *testing.T) {
	away := hypervisor.EmulatorFit{Missing: "Cannot check QEMU binary /usr/bin/qemu-kvm: No such file or directory"}
	for name, comesBack := range map[string]bool{"it comes back": true, "it stays away": false} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				b := w.fleet.Host("node-b")
				b.SetEmulatorFit(away)
				if comesBack {
					time.AfterFunc(emulatorPatience-time.Second, func() { b.SetEmulatorFit(hypervisor.EmulatorFit{}) })
				}
				begun := time.Now()
				lm := w.settle(w.migrate(guestUUID))
				if comesBack {
					if lm.Status.Phase != v1alpha1.PhaseSucceeded {
						t.Errorf("the migration ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
					}
					return
				}
				condition := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
				if lm.Status.Phase != v1alpha1.PhaseFailed || lm.Status.Target.Problem.Blockers[0].Code != v1alpha1.BlockerEmulatorUnsupported {
					t.Fatalf("the migration ends in %s: %+v", lm.Status.Phase, condition)
				}
				for _, want := range []string{"No such file or directory", "migrateData.pathMappings", "install"} {
					if !strings.Contains(condition.Message, want) {
						t.Errorf("the message lacks %q: %s", want, condition.Message)
					}
				}
				if waited := time.Since(begun); waited > emulatorPatience+10*time.Second {
					t.Errorf("it took %s", waited)
				}
				// Each look may have libvirt start programs.
				if n := w.fleet.Count(fake.MethodCheckEmulator, ""); n > 60 {
					t.Errorf("libvirt was asked %d times", n)
				}
			})
		})
	}
}

// TestAllBlockersAreListed, each with its code, and told in one message.
func TestAllBlockersAreListed(t *testing.T) {
	inWorld(t, func(w *world) {
		b := w.fleet.Host("node-b")
		b.SetEmulatorFit(hypervisor.EmulatorFit{Unsupported: "no such machine"})
		b.AddGuest(fake.Guest{UUID: "44444444-4444-4444-8444-444444444444", Name: "web"})
		lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
			lm.Spec.MigrateData = &v1alpha1.MigrateData{PathMappings: []v1alpha1.PathMapping{{From: "/a", To: "/etc/shadow"}}}
		}))
		problem := lm.Status.Target.Problem
		if problem == nil {
			t.Fatalf("the migration ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
		}
		var codes []v1alpha1.BlockerCode
		for _, b := range problem.Blockers {
			codes = append(codes, b.Code)
			if !strings.Contains(problem.Message, b.Message) {
				t.Errorf("the message lacks %q: %s", b.Message, problem.Message)
			}
		}
		want := []v1alpha1.BlockerCode{v1alpha1.BlockerPathNotAllowed, v1alpha1.BlockerNameTaken, v1alpha1.BlockerEmulatorUnsupported}
		if !slices.Equal(codes, want) {
			t.Errorf("the blockers are %v, want %v", codes, want)
		}
	})
}

// TestBothSidesAreToldOf at once, in a dry run or not: what keeps the guest on the source does not
// hide what the target has against it, nor what is wrong with the migrate data.
func TestBothSidesAreToldOf(t *testing.T) {
	const snapshots, unused, machine = "keeps snapshots of the guest", "does not use this PCI device", "no such machine"
	for name, c := range map[string]struct {
		dry, away, target bool
		snapshots         int
		reason            string
		want              []string
	}{
		"a dry run":                             {true, false, false, 2, v1alpha1.ReasonSourceCheckFailed, []string{snapshots, unused}},
		"one that the target refuses":           {true, false, true, 2, v1alpha1.ReasonSourceCheckFailed, []string{snapshots, machine, unused}},
		"one that it refuses first":             {true, false, true, 0, v1alpha1.ReasonInvalidMigrateData, []string{machine, unused}},
		"one whose target does not act":         {true, true, false, 2, v1alpha1.ReasonSourceCheckFailed, []string{snapshots}},
		"a migration":                           {false, false, false, 2, v1alpha1.ReasonSourceCheckFailed, []string{snapshots, unused}},
		"one that both refuse":                  {false, false, true, 2, v1alpha1.ReasonSourceCheckFailed, []string{snapshots, machine, unused}},
		"one that the target alone refuses":     {false, false, true, 0, v1alpha1.ReasonInvalidMigrateData, []string{machine, unused}},
		"a migration whose target is not there": {false, true, false, 2, v1alpha1.ReasonSourceCheckFailed, []string{snapshots}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Ties: hypervisor.Ties{Snapshots: c.snapshots}})
				if c.target {
					w.fleet.Host("node-b").SetEmulatorFit(hypervisor.EmulatorFit{Unsupported: "no such machine"})
				}
				if c.away {
					w.fleet.Host("node-b").Disconnect()
				}
				lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
					lm.Spec.DryRun = &c.dry
					lm.Spec.MigrateData = &v1alpha1.MigrateData{PCIDevices: []v1alpha1.PCIDeviceMigrateData{{Source: "0000:81:00.1", Target: "0000:3b:00.1"}}}
				}))
				condition := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
				if lm.Status.Phase != v1alpha1.PhaseFailed || condition.Reason != c.reason {
					t.Fatalf("it ends in %s: %+v", lm.Status.Phase, condition)
				}
				for _, want := range c.want {
					if strings.Count(condition.Message, want) != 1 {
						t.Errorf("the message does not say %q once: %s", want, condition.Message)
					}
				}
				if n := w.fleet.Count(fake.MethodMigrate, guestUUID); n != 0 {
					t.Errorf("%d migrations were started", n)
				}
			})
		})
	}
}

// TestAnEmulatorThatIsNotAllowedIsNotRun: libvirt runs an emulator to learn what it can do, so
// that whoever writes a LiveMigration could run any program of the target.
func TestAnEmulatorThatIsNotAllowedIsNotRun(t *testing.T) {
	const uuid = "33333333-3333-4333-8333-333333333333"
	xml := hypervisor.DomainXML(`<domain type='kvm'><name>new</name><uuid>` + uuid + `</uuid><devices><emulator>/usr/bin/qemu</emulator></devices></domain>`)
	for _, c := range []struct {
		from, to string
		asked    int
	}{
		{"/usr/bin/qemu", "/usr/bin/true", 0},
		{"/usr/bin", "/tmp", 0},
		{"/usr/bin/qemu", "/var/lib/libvirt/images/../../../../tmp/a", 0},
		{"/somewhere", "/else", 1},
	} {
		t.Run(c.to, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: uuid, Name: "new", LiveXML: xml})
				w.fleet.Host("node-b").SetInfo(hypervisor.HostInfo{
					UUID: uuid, Capabilities: "<capabilities><guest><arch name='x86_64'><emulator>/usr/bin/qemu</emulator></arch></guest></capabilities>",
				})
				lm := w.settle(w.migrateWith(uuid, func(lm *v1alpha1.LiveMigration) {
					lm.Spec.MigrateData = &v1alpha1.MigrateData{PathMappings: []v1alpha1.PathMapping{{From: c.from, To: c.to}}}
				}))
				if lm.Status.Phase != v1alpha1.PhaseFailed || lm.Status.Target.Problem == nil {
					t.Errorf("the migration ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
				}
				if n := w.fleet.Count(fake.MethodCheckEmulator, ""); n != c.asked {
					t.Errorf("libvirt was asked %d times about the emulator, want %d", n, c.asked)
				}
			})
		})
	}
}

// TestATargetThatCannotBeAskedIsTried: libvirt will say so itself.
func TestATargetThatCannotBeAskedIsTried(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fleet.Host("node-b").FailNext(fake.MethodCheckEmulator, &hypervisor.Error{Kind: hypervisor.KindOther, Message: "what?"})
		if lm := w.settle(w.migrate(guestUUID)); lm.Status.Phase != v1alpha1.PhaseSucceeded {
			t.Errorf("the migration ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
		}
	})
}

func TestEmulatorOf(t *testing.T) {
	t.Parallel()
	needs := xmlrewrite.Needs{Emulator: "/usr/bin/qemu", VirtType: "kvm", Arch: "x86_64", Machine: "q35", CPU: "<cpu/>"}
	mapped := &v1alpha1.MigrateData{PathMappings: []v1alpha1.PathMapping{{From: "/usr/bin/other", To: "/a"}, {From: "/usr/bin/qemu", To: "/opt/qemu"}}}
	if got := emulatorOf(needs, nil); *got != (v1alpha1.GuestEmulator{Path: "/usr/bin/qemu", VirtType: "kvm", Arch: "x86_64", Machine: "q35", CPU: "<cpu/>"}) {
		t.Errorf("got %+v", got)
	}
	if got := emulatorOf(needs, mapped); got.Path != "/opt/qemu" {
		t.Errorf("mapped, the path is %s", got.Path)
	}
	for name, c := range map[string]struct {
		mappings []v1alpha1.PathMapping
		want     string
	}{
		"with its directory":                   {[]v1alpha1.PathMapping{{From: "/usr/bin", To: "/opt/bin"}}, "/opt/bin/qemu"},
		"by the longest":                       {[]v1alpha1.PathMapping{{From: "/usr", To: "/a"}, {From: "/usr/bin", To: "/b"}}, "/b/qemu"},
		"with surplus slashes":                 {[]v1alpha1.PathMapping{{From: "/usr//bin/", To: "/opt//bin/"}}, "/opt/bin/qemu"},
		"only whole names":                     {[]v1alpha1.PathMapping{{From: "/usr/bin/qem", To: "/a"}}, "/usr/bin/qemu"},
		"once":                                 {[]v1alpha1.PathMapping{{From: "/usr/bin/qemu", To: "/a"}, {From: "/a", To: "/b"}}, "/a"},
		"to what is too long, and so not told": {[]v1alpha1.PathMapping{{From: "/usr/bin", To: "/" + strings.Repeat("e", maxPath-1)}}, ""},
	} {
		got := emulatorOf(needs, &v1alpha1.MigrateData{PathMappings: c.mappings})
		if (got == nil) != (c.want == "") || got != nil && got.Path != c.want {
			t.Errorf("mapped %s: got %+v", name, got)
		}
	}
	for name, c := range map[string]struct {
		change  func(*xmlrewrite.Needs)
		nothing bool
	}{
		"the longest": {func(n *xmlrewrite.Needs) {
			n.Emulator, n.Machine, n.CPU = strings.Repeat("e", maxPath), strings.Repeat("m", maxWord), strings.Repeat("c", maxCPU)
		}, false},
		"a path that is too long": {func(n *xmlrewrite.Needs) { n.Emulator = strings.Repeat("e", maxPath+1) }, true},
		"a word that is too long": {func(n *xmlrewrite.Needs) { n.Arch = strings.Repeat("a", maxWord+1) }, true},
	} {
		n := needs
		c.change(&n)
		if got := emulatorOf(n, nil); (got == nil) != c.nothing || got != nil && got.CPU != n.CPU {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	needs.CPU += strings.Repeat(" ", maxCPU)
	if got := emulatorOf(needs, nil); got == nil || got.CPU != "" {
		t.Errorf("with a CPU that is too long: got %+v", got)
	}
}

func TestMayBeRun(t *testing.T) {
	t.Parallel()
	c := ReceiveConfig{AllowedPaths: []string{"/srv/qemu"}}
	host := hypervisor.HostInfo{Capabilities: "<arch><emulator>/usr/bin/qemu</emulator></arch>"}
	for program, want := range map[string]bool{
		"": true, "/usr/bin/qemu": true, "/usr/bin/qem": false, "/usr/bin/true": false, "qemu": false,
		"/srv/qemu/new": true, "/srv/qemu": false, "/srv/qemu/../../usr/bin/true": false, "/srv/qemu//new": false,
	} {
		if got := c.mayBeRun(program, host); got != want {
			t.Errorf("%q: got %t", program, got)
		}
	}
}
