package migration

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

func TestDecideTransfer(t *testing.T) {
	t.Parallel()
	ready := func(name string, authorities ...string) *v1alpha1.MigrationTLS {
		return &v1alpha1.MigrationTLS{Ready: true, ServerName: name, Authorities: authorities}
	}
	not := &v1alpha1.MigrationTLS{Problem: "QEMU's certificate is missing"}
	encryption := func(e v1alpha1.Encryption) *v1alpha1.TransferOptions { return &v1alpha1.TransferOptions{Encryption: e} }
	for name, c := range map[string]struct {
		options        *v1alpha1.TransferOptions
		source, target *v1alpha1.MigrationTLS
		want           v1alpha1.TransferPlan
		blocked        string // Part of the message.
	}{
		"both can":           {nil, ready("", "a"), ready("", "a"), v1alpha1.TransferPlan{Encrypted: true}, ""},
		"one is being moved": {nil, ready("", "old", "new"), ready("", "new"), v1alpha1.TransferPlan{Encrypted: true}, ""},
		"the target has another name": {
			nil, ready("", "a"), ready("node-b.example", "a"), v1alpha1.TransferPlan{Encrypted: true, TLSDestination: "node-b.example"}, "",
		},
		"the user knows the name": {
			&v1alpha1.TransferOptions{TLSDestination: "b"}, ready("", "a"), ready("node-b.example", "a"),
			v1alpha1.TransferPlan{Encrypted: true, TLSDestination: "b"}, "",
		},
		"off": {
			encryption(v1alpha1.EncryptionDisabled), ready("", "a"), ready("", "a"),
			v1alpha1.TransferPlan{UnencryptedReason: "spec.options.transfer.encryption is Disabled"}, "",
		},
		"the source cannot": {
			encryption(v1alpha1.EncryptionAuto), not, ready("", "a"),
			v1alpha1.TransferPlan{UnencryptedReason: "on node-a, QEMU's certificate is missing"}, "",
		},
		"the target cannot": {
			nil, ready("", "a"), not, v1alpha1.TransferPlan{UnencryptedReason: "on node-b, QEMU's certificate is missing"}, "",
		},
		"two authorities": {
			nil, ready("", "a"), ready("", "b"),
			v1alpha1.TransferPlan{UnencryptedReason: "the QEMUs on node-a and node-b trust no certificate authority in common"}, "",
		},
		"the source is not seen": {
			nil, nil, ready("", "a"), v1alpha1.TransferPlan{UnencryptedReason: "the agent on node-a does not see its host's certificates"}, "",
		},
		"the target is not seen": {
			nil, ready("", "a"), nil, v1alpha1.TransferPlan{UnencryptedReason: "the agent on node-b does not see its host's certificates"}, "",
		},
		"required, and not seen": {encryption(v1alpha1.EncryptionRequired), nil, nil, v1alpha1.TransferPlan{Encrypted: true}, ""},
		"required, and the source cannot": {
			encryption(v1alpha1.EncryptionRequired), not, nil, v1alpha1.TransferPlan{}, "on node-a, QEMU's certificate is missing",
		},
		"required, and two authorities": {
			encryption(v1alpha1.EncryptionRequired), ready("", "a"), ready("", "b"), v1alpha1.TransferPlan{}, "no certificate authority in common",
		},
		"all else": {
			&v1alpha1.TransferOptions{
				Encryption: v1alpha1.EncryptionDisabled, ParallelConnections: new(int32(4)), ZeroCopy: new(true),
				Compression: &v1alpha1.CompressionOptions{Method: v1alpha1.CompressionZstd}, SwitchoverBandwidthMiBps: new(int64(1000)),
			}, nil, nil,
			v1alpha1.TransferPlan{
				UnencryptedReason: "spec.options.transfer.encryption is Disabled", ParallelConnections: 4, ZeroCopy: true, Compression: v1alpha1.CompressionZstd,
				SwitchoverBandwidthMiBps: 1000,
			}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, blocker := DecideTransfer(TransferFacts{Options: c.options, SourceNode: "node-a", TargetNode: "node-b", Source: c.source, Target: c.target})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			switch {
			case c.blocked == "" && blocker != nil:
				t.Errorf("it is blocked: %+v", blocker)
			case c.blocked != "" && (blocker == nil || blocker.Code != v1alpha1.BlockerEncryptionUnavailable || !strings.Contains(blocker.Message, c.blocked)):
				t.Errorf("the blocker is %+v", blocker)
			}
		})
	}
}

// TestConnectionsThatNobodyHasAskedFor fill the slower link, where that takes more than one.
func TestConnectionsThatNobodyHasAskedFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		facts   TransferFacts
		options *v1alpha1.TransferOptions
		want    int32
	}{
		{"nothing is known", TransferFacts{}, nil, 0},
		{"the source's link is not known", TransferFacts{TargetLinkMbps: 100000, TargetCPUs: 64}, nil, 0},
		{"the target's CPUs are not known", TransferFacts{SourceLinkMbps: 100000, TargetLinkMbps: 100000}, nil, 0},
		{"one connection fills it", TransferFacts{SourceLinkMbps: 19999, TargetLinkMbps: 100000, TargetCPUs: 64}, nil, 0},
		{"two do", TransferFacts{SourceLinkMbps: 100000, TargetLinkMbps: 25000, TargetCPUs: 64}, nil, 2},
		{"there are bounds", TransferFacts{SourceLinkMbps: 400000, TargetLinkMbps: 400000, TargetCPUs: 64}, nil, 8},
		{"the target has few CPUs", TransferFacts{SourceLinkMbps: 100000, TargetLinkMbps: 100000, TargetCPUs: 8}, nil, 4},
		{"post-copy may follow", TransferFacts{SourceLinkMbps: 100000, TargetLinkMbps: 100000, TargetCPUs: 64, PostCopy: true}, nil, 0},
		{"the user says how many", TransferFacts{SourceLinkMbps: 100000, TargetLinkMbps: 100000, TargetCPUs: 64}, &v1alpha1.TransferOptions{ParallelConnections: new(int32(3))}, 3},
		{"with compression over one", TransferFacts{SourceLinkMbps: 100000, TargetLinkMbps: 100000, TargetCPUs: 64}, &v1alpha1.TransferOptions{Compression: &v1alpha1.CompressionOptions{Method: v1alpha1.CompressionXBZRLE}}, 0},
	} {
		c.facts.Options = c.options
		if plan, _ := DecideTransfer(c.facts); plan.ParallelConnections != c.want {
			t.Errorf("%s: %d, want %d", c.name, plan.ParallelConnections, c.want)
		}
	}
}
