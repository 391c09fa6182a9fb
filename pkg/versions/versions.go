// Package versions knows what goes wrong between certain versions of libvirt and QEMU.
// The knowledge itself is in rules.yaml.
package versions

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Host is what runs on one of the two hosts. A version is dotted, such as 9.0.0, and empty
// where it is not known.
type Host struct {
	Node, Libvirt, QEMU string
}

// Use is something that a migration or its guest makes use of.
type Use string

// The uses that rules ask for.
const (
	// UsePostCopy: the migration may be switched to post-copy.
	UsePostCopy Use = "PostCopy"
	// UseCPUThreads: the guest's CPU has several threads a core.
	UseCPUThreads Use = "CPUThreads"
	// UseVMX: the guest's CPU has Intel's virtualization.
	UseVMX Use = "VMX"
	// UseLongEncryption: so much may be sent by TLS that it changes its keys on the way.
	UseLongEncryption Use = "LongEncryption"
	// UseParallelCompression: what parallel connections send is compressed.
	UseParallelCompression Use = "ParallelCompression"
	// UseParallelConnections: the memory goes over several connections.
	UseParallelConnections Use = "ParallelConnections"
	// UseZeroCopy: the kernel sends the memory from where it is.
	UseZeroCopy Use = "ZeroCopy"
	// UseSwitchoverBandwidth: the hypervisor is told what it can send during the switch-over.
	UseSwitchoverBandwidth Use = "SwitchoverBandwidth"
	// UseVirtioDevices: the guest has devices of this kind.
	UseVirtioDevices Use = "VirtioDevices"
	// UseCopiedDisks: disks of the guest are copied.
	UseCopiedDisks Use = "CopiedDisks"
	// UseDetectZeroes: what is nothing but zeroes is left out of disks that are copied.
	UseDetectZeroes Use = "DetectZeroes"
	// UseEncryption: QEMU encrypts what it sends.
	UseEncryption Use = "Encryption"
	// UseEmulation: QEMU emulates the guest's CPU.
	UseEmulation Use = "Emulation"
	// UseBlockJobs: libvirt shows jobs of the guest's disks.
	UseBlockJobs Use = "BlockJobs"
)

// Effect is what a rule comes to.
type Effect string

// The effects.
const (
	// Warn: the user is told.
	Warn Effect = "Warn"
	// Refuse: the migration is refused before anything is touched.
	Refuse Effect = "Refuse"
	// SkipCPUCheck: the user is told, and the guest's CPU is not compared beforehand.
	SkipCPUCheck Effect = "SkipCPUCheck"
	// WithholdPostCopyResume: the user is told, and a post-copy that is interrupted is not
	// resumed.
	WithholdPostCopyResume Effect = "WithholdPostCopyResume"
)

// Finding is a rule that applies to a migration.
type Finding struct {
	ID     string
	Effect Effect
	// Message says what goes wrong, and Remedy what to do, both without a full stop.
	Message, Remedy string
}

// String returns message and remedy as sentences, and what to do if the finding is wrong,
// without the last full stop.
func (f Finding) String() string {
	return f.Advice() + ". If it has been mended without a new version, add " + f.ID +
		" to options.ignoreKnownFaults"
}

// Advice returns message and remedy as sentences, without the last full stop.
func (f Finding) Advice() string { return sentence(f.Message) + ". " + sentence(f.Remedy) }

func sentence(text string) string {
	if strings.HasPrefix(text, "libvirt ") { // The project writes its name so.
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// Check returns the rules that apply to a migration, in the order of the file.
func Check(source, target Host, uses ...Use) []Finding {
	var found []Finding
	for _, r := range rules() {
		if r.applies(source, target, uses) {
			found = append(found, r.finding(source, target))
		}
	}
	return found
}

func (r *rule) applies(source, target Host, uses []Use) bool {
	return r.Source.fits(source) && r.Target.fits(target) &&
		!slices.ContainsFunc(r.Uses, func(u Use) bool { return !slices.Contains(uses, u) })
}

func (r *rule) finding(source, target Host) Finding {
	fill := strings.NewReplacer(
		"{source}", source.Node, "{target}", target.Node, "{sourceLibvirt}", source.Libvirt, "{targetLibvirt}", target.Libvirt,
		"{sourceQEMU}", source.QEMU, "{targetQEMU}", target.QEMU,
	)
	return Finding{ID: r.ID, Effect: r.Effect, Message: fill.Replace(r.Message), Remedy: fill.Replace(r.Remedy)}
}

func (s side) fits(h Host) bool { return s.Libvirt.holds(h.Libvirt) && s.QEMU.holds(h.QEMU) }

// version is one with three numbers.
type version [3]int

// parseVersion takes one, two or three numbers. What follows them after a blank, a dash, a
// plus or a parenthesis, as in Debian's "9.0.0-4+deb12u2", is left out.
func parseVersion(text string) (version, error) {
	var v version
	if i := strings.IndexAny(text, " -+("); i >= 0 {
		text = text[:i]
	}
	parts := strings.Split(text, ".")
	if len(parts) > len(v) {
		return v, fmt.Errorf("%q has more than %d numbers", text, len(v))
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return v, fmt.Errorf("%q is not a version such as 9.0.0", text)
		}
		v[i] = int(n)
	}
	return v, nil
}

// Newer reports whether a version is later than another. One that cannot be read is not.
func Newer(a, b string) bool {
	va, err := parseVersion(a)
	if err != nil {
		return false
	}
	vb, err := parseVersion(b)
	return err != nil || slices.Compare(va[:], vb[:]) > 0
}
