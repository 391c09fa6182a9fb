package versions

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	const (
		resume  = "PostCopyResumeCrashesTarget"
		daemon  = "DaemonCrashesWhenRestarted"
		vmx     = "VMXRefused"
		cpu     = "CPURefused"
		threads = "ThreadsRefused"
	)
	for _, c := range []struct {
		source, target string // libvirt and, behind a slash, QEMU
		uses           []Use
		want           []string
	}{
		{"9.0.0/7.2.22", "9.0.0/7.2.22", []Use{UsePostCopy, UseCPUThreads, UseVMX}, nil},
		{"9.0.0", "11.1.9", []Use{UsePostCopy}, nil},
		{"9.0.0", "11.2.0", []Use{UsePostCopy}, []string{resume}},
		{"9.0.0", "11.3.0", []Use{UsePostCopy}, []string{resume}},
		{"9.0.0", "11.3.0-3+deb13u3", []Use{UsePostCopy}, []string{resume}},
		{"9.0.0", "11.3", []Use{UsePostCopy}, []string{resume}},
		{"9.0.0", "11.4.0", []Use{UsePostCopy}, nil},
		{"11.3.0", "9.0.0", []Use{UsePostCopy}, nil},
		{"9.0.0", "11.3.0", nil, nil},
		{"8.7.9", "9.0.0", nil, nil},
		{"8.8.0", "9.0.0", nil, []string{daemon}},
		{"8.9.0", "9.0.0", nil, nil},
		{"8.10.0", "9.0.0", []Use{UseBlockJobs}, nil},
		{"9.0.0", "9.1.0", []Use{UseBlockJobs}, []string{"BlockJobsNotEnded"}},
		{"9.1.0", "9.0.0", []Use{UseBlockJobs}, nil},
		{"9.9.0", "9.10.0", []Use{UseVMX}, []string{vmx}},
		{"9.9.0", "9.10.0", nil, nil},
		{"9.10.0", "10.1.0", []Use{UseVMX}, nil},
		{"9.0.0", "10.2.0", []Use{UseVMX}, []string{cpu}},
		{"9.0.0", "10.3.0", []Use{UseVMX}, nil},
		{"9.0.0/7.2.0", "11.3.0/10.0.2", []Use{UseCPUThreads}, []string{threads}},
		{"9.0.0/7.2.0", "11.3.0/9.2.0", []Use{UseCPUThreads}, nil},
		{"9.0.0/7.2.0", "11.10.0/10.0.2", []Use{UseCPUThreads}, nil},
		{"9.0.0/7.2.0", "11.3.0/10.0.2", []Use{UsePostCopy, UseCPUThreads}, []string{resume, threads}},
		{"11.5.0", "12.0.0", []Use{UseLongEncryption}, []string{"LongEncryptionCrashesSource"}},
		{"11.6.0", "9.0.0", []Use{UseLongEncryption}, nil},
		{"9.0.0", "9.4.0", []Use{UseParallelCompression}, []string{"ParallelCompressionMissingOnSource"}},
		{"9.4.0", "9.3.0", []Use{UseParallelCompression}, []string{"ParallelCompressionMissingOnTarget"}},
		{"9.4.0", "9.4.0", []Use{UseParallelCompression}, nil},
		{"8.4.0/7.1.0", "8.0.0", []Use{UseZeroCopy}, []string{"ZeroCopyMissing"}},
		{"8.5.0/7.0.0", "8.5.0", []Use{UseZeroCopy}, []string{"ZeroCopyMissingInQEMU"}},
		{"8.5.0/7.1.0", "8.5.0", []Use{UseZeroCopy}, nil},
		{"11.0.9/10.0.2", "11.3.0", []Use{UseSwitchoverBandwidth}, []string{"SwitchoverBandwidthMissing"}},
		{"11.1.0/8.1.9", "11.3.0", []Use{UseSwitchoverBandwidth}, []string{"SwitchoverBandwidthMissingInQEMU"}},
		{"11.1.0/8.2.0", "9.0.0/7.2.22", []Use{UseSwitchoverBandwidth}, nil},
		{"8.7.0", "9.0.0", []Use{UseCopiedDisks}, []string{"DiskCopyBroken"}},
		{"10.8.0", "11.3.0", []Use{UseCopiedDisks, UseDetectZeroes}, []string{"DetectZeroesMissingOnSource"}},
		{"11.3.0", "9.0.0", []Use{UseCopiedDisks, UseDetectZeroes}, []string{"DetectZeroesMissingOnTarget"}},
		{"10.9.0", "11.3.0", []Use{UseCopiedDisks, UseDetectZeroes}, nil},
		{"8.8.0", "8.7.0", []Use{UseCopiedDisks}, []string{"DaemonCrashesWhenRestarted"}},
		{"8.1.0", "9.0.0", []Use{UseCopiedDisks, UseEncryption}, []string{"DisksUnencrypted"}},
		{"8.2.0", "9.0.0", []Use{UseCopiedDisks, UseEncryption}, nil},
		{"10.2.0", "11.1.0", []Use{UseCopiedDisks, UseEncryption, UsePostCopy}, []string{"EncryptedDiskCopyWithPostCopy"}},
		{"10.3.0", "11.1.0", []Use{UseCopiedDisks, UseEncryption, UsePostCopy}, nil},
		{"10.2.0", "11.1.0", []Use{UseCopiedDisks, UseEncryption, UseParallelConnections}, []string{"EncryptedDiskCopyInParallel"}},
		{"10.3.0", "11.1.0", []Use{UseCopiedDisks, UseEncryption, UseParallelConnections}, nil},
		{"11.3.0/10.0.13", "12.8.0/11.1.2", []Use{UseVirtioDevices}, []string{"VirtioQueuesRefused"}},
		{"11.3.0/10.0.13", "12.8.0/11.1.2", []Use{UseVirtioDevices, UsePostCopy}, []string{"VirtioQueuesRefused", "VirtioQueuesRefusedInPostCopy"}},
		{"11.3.0/10.0.13", "12.8.0/11.1.2", []Use{UsePostCopy}, nil},
		{"11.3.0/10.0.12", "12.8.0/11.1.2", []Use{UseVirtioDevices, UsePostCopy}, nil},
		{"11.3.0/10.0.13", "9.0.0/7.2.22", []Use{UseVirtioDevices, UsePostCopy}, nil},
		{"12.8.0/11.1.0", "11.1.0/7.2.22", []Use{UseEmulation, UsePostCopy}, []string{"EmulatedWritesLost"}},
		{"12.8.0/11.1.3", "12.8.0/11.1.3", []Use{UseEmulation, UsePostCopy}, []string{"EmulatedWritesLost"}},
		{"12.8.0/11.1.2", "12.8.0/11.1.2", []Use{UseEmulation}, nil},
		{"12.8.0/11.1.2", "12.8.0/11.1.2", []Use{UsePostCopy}, nil},
		{"12.8.0/11.0.9", "12.8.0/11.1.2", []Use{UseEmulation, UsePostCopy}, nil},
		{"", "11.3.0", []Use{UsePostCopy}, []string{resume}},
		{"", "9.10.0", []Use{UseVMX}, nil},
		{"9.0.0", "", []Use{UsePostCopy}, nil},
		{"9.0.0", "unknown", []Use{UsePostCopy}, nil},
		{"9.0.0", "11.3.0.1", []Use{UsePostCopy}, nil},
		{"9.0.0", "11.-3.0", []Use{UsePostCopy}, nil},
	} {
		var got []string
		for _, f := range Check(hostOf("a", c.source), hostOf("b", c.target), c.uses...) {
			got = append(got, f.ID)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("from %s to %s, %v: got %v, want %v", c.source, c.target, c.uses, got, c.want)
		}
	}
}

func hostOf(node, versions string) Host {
	libvirt, qemu, _ := strings.Cut(versions, "/")
	return Host{Node: node, Libvirt: libvirt, QEMU: qemu}
}

func TestFindingsReadWell(t *testing.T) {
	t.Parallel()
	found := Check(hostOf("node-1", "8.8.0"), hostOf("node-2", "11.3.0/10.0.2"), UsePostCopy, UseCPUThreads)
	want := []string{
		"libvirt 11.3.0 on node-2 crashes when a post-copy that was interrupted is resumed towards it, so it is not resumed. " +
			"Ask an administrator to update libvirt on node-2 to 11.4.0 or newer, which can be done while the guest waits there. If it has been mended without a new version, add PostCopyResumeCrashesTarget to options.ignoreKnownFaults",
		"The daemon of libvirt 8.8.0 on node-1 crashes if it is restarted while a guest leaves. " +
			"Ask the administrators not to restart or update libvirt on node-1 while the migration runs. If it has been mended without a new version, add DaemonCrashesWhenRestarted to options.ignoreKnownFaults",
		"libvirt 11.3.0 with QEMU 10.0.2 on node-2 may refuse a guest whose CPU has several threads a core, for the extra feature ht. " +
			"If it does, ask an administrator to update libvirt on node-2 to 11.10.0 or newer. If it has been mended without a new version, add ThreadsRefused to options.ignoreKnownFaults",
	}
	var got []string
	for _, f := range found {
		got = append(got, f.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if found[0].Effect != WithholdPostCopyResume || found[1].Effect != Warn {
		t.Errorf("the effects are %s and %s", found[0].Effect, found[1].Effect)
	}
}

// TestRemediesOnHostsAreForAdministrators: whoever creates LiveMigrations need not have access
// to the hosts.
func TestRemediesOnHostsAreForAdministrators(t *testing.T) {
	t.Parallel()
	needsHost := regexp.MustCompile(`\b(update|restart|shut|put)\b`)
	for _, r := range rules() {
		if needsHost.MatchString(r.Remedy) && !strings.Contains(r.Remedy, "administrator") {
			t.Errorf("%s: %s", r.ID, r.Remedy)
		}
		if strings.HasPrefix(r.Remedy, "remove ") {
			t.Errorf("%s has something removed that cannot be changed: %s", r.ID, r.Remedy)
		}
	}
}

// TestEachRuleCanApply: a rule that asks for what cannot be, or for nothing, is a mistake.
func TestEachRuleCanApply(t *testing.T) {
	t.Parallel()
	all := rules()
	if len(all) < 5 {
		t.Errorf("there are only %d rules", len(all))
	}
	lowest := func(s span) string {
		for _, c := range s {
			if c.operator == ">=" {
				return fmt.Sprintf("%d.%d.%d", c.version[0], c.version[1], c.version[2])
			}
		}
		return "0.0.1"
	}
	for _, r := range all {
		at := func(s side, node string) Host { return Host{node, lowest(s.Libvirt), lowest(s.QEMU)} }
		if !r.applies(at(r.Source, "a"), at(r.Target, "b"), r.Uses) {
			t.Errorf("%s never applies", r.ID)
		}
		if r.applies(Host{Node: "a"}, Host{Node: "b"}, r.Uses) {
			t.Errorf("%s applies to hosts whose versions are not known", r.ID)
		}
		for i := range r.Uses {
			if r.applies(at(r.Source, "a"), at(r.Target, "b"), slices.Delete(slices.Clone(r.Uses), i, i+1)) {
				t.Errorf("%s applies without %s", r.ID, r.Uses[i])
			}
		}
	}
}

// TestEachRuleCanBeIgnored: the API takes the names of all of them, and no others.
func TestEachRuleCanBeIgnored(t *testing.T) {
	t.Parallel()
	var ids []v1alpha1.KnownFault
	for _, r := range rules() {
		ids = append(ids, v1alpha1.KnownFault(r.ID))
	}
	want := []v1alpha1.KnownFault{
		v1alpha1.FaultPostCopyResumeCrashesTarget, v1alpha1.FaultDaemonCrashesWhenRestarted, v1alpha1.FaultBlockJobsNotEnded, v1alpha1.FaultVMXRefused,
		v1alpha1.FaultCPURefused, v1alpha1.FaultThreadsRefused, v1alpha1.FaultLongEncryptionCrashesSource,
		v1alpha1.FaultParallelCompressionMissingOnSource, v1alpha1.FaultParallelCompressionMissingOnTarget,
		v1alpha1.FaultZeroCopyMissing, v1alpha1.FaultZeroCopyMissingInQEMU, v1alpha1.FaultSwitchoverBandwidthMissing, v1alpha1.FaultSwitchoverBandwidthMissingInQEMU,
		v1alpha1.FaultVirtioQueuesRefused, v1alpha1.FaultVirtioQueuesRefusedInPostCopy, v1alpha1.FaultEmulatedWritesLost,
		v1alpha1.FaultDiskCopyBroken, v1alpha1.FaultDisksUnencrypted, v1alpha1.FaultEncryptedDiskCopyWithPostCopy, v1alpha1.FaultEncryptedDiskCopyInParallel, v1alpha1.FaultDetectZeroesMissingOnSource, v1alpha1.FaultDetectZeroesMissingOnTarget,
	}
	if !slices.Equal(ids, want) {
		t.Errorf("the rules are %v, and the API has %v", ids, want)
	}
}

// TestMalformedRules are refused, with what is wrong.
func TestMalformedRules(t *testing.T) {
	t.Parallel()
	const good = "- {id: A, target: {libvirt: '<9.0.0'}, effect: Warn, message: 'm {target}', remedy: r, origin: o}\n"
	if all, err := parseRules([]byte(good)); err != nil || len(all) != 1 {
		t.Fatalf("a rule: %v, %v", all, err)
	}
	for text, want := range map[string]string{
		good + good: "another one",
		strings.Replace(good, "id: A", "id: a b", 1):                             "id must be",
		strings.Replace(good, "effect: Warn", "effect: Explode", 1):              `no effect "Explode"`,
		strings.Replace(good, "remedy: r, ", "", 1):                              "required",
		strings.Replace(good, "remedy: r", "remedy: r.", 1):                      "full stop",
		strings.Replace(good, "target: {libvirt: '<9.0.0'}, ", "", 1):            "asks for no version",
		strings.Replace(good, "'<9.0.0'", "'9.0.0'", 1):                          "must begin with",
		strings.Replace(good, "'<9.0.0'", "'<9.x'", 1):                           "not a version",
		strings.Replace(good, "'<9.0.0'", "'<9.0.0.1'", 1):                       "more than 3",
		strings.Replace(good, "{target}", "{host}", 1):                           "nothing stands for {host}",
		strings.Replace(good, "effect: Warn", "uses: [Magic], effect: Warn", 1):  `no use "Magic"`,
		strings.Replace(good, "effect: Warn", "severity: high, effect: Warn", 1): "severity",
	} {
		if _, err := parseRules([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
