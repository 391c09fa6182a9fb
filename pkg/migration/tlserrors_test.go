package migration

import (
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestErrorsOfCertificatesSayWhatToDo, in the words in which libvirt and QEMU were seen to
// report them.
func TestErrorsOfCertificatesSayWhatToDo(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"authentication failed: Failed to verify peer's certificate":                                                            "/etc/pki/libvirt/servercert.pem, is for the address",
		"Unable to read TLS confirmation: Input/output error":                                                                   "libvirt on node-a has a certificate",
		"Cannot read CA certificate '/etc/pki/CA/cacert.pem': No such file or directory":                                        "libvirt's certificates into their places on node-a",
		"Our own certificate /etc/pki/libvirt/clientcert.pem failed validation against /etc/pki/CA/cacert.pem: The certificate": "clientcert.pem on node-a is signed",
		"operation failed: job 'migration out' failed: The certificate hasn't got a known issuer":                               "ca-cert.pem on node-a has signed QEMU's certificate on node-b",
		"internal error: unable to execute QEMU command 'object-add': Our own certificate /etc/pki/qemu/server-cert.pem failed validation against /etc/pki/qemu/ca-cert.pem: The certificate hasn't got a known issuer": "on both nodes",
		"internal error: unable to execute QEMU command 'object-add': Unable to access credentials /etc/pki/qemu/ca-cert.pem: No such file or directory":                                                                "their places on node-a and node-b",
		"operation failed: job 'migration out' failed: Certificate does not match the hostname x7t1":                                                                                                                    "spec.options.transfer.tlsDestination",
		"operation failed: job 'migration out' failed: Cannot write to TLS channel: Input/output error":                                                                                                                 "QEMU on node-a has a client certificate",
		"internal error: qemu unexpectedly closed the monitor: Cannot read from TLS channel: Input/output error":                                                                                                        "QEMU's certificate on node-b is for",
		"operation failed: migration failed": "Fix the cause",
	} {
		lm := &v1alpha1.LiveMigration{Status: v1alpha1.LiveMigrationStatus{SourceNode: "node-a", TargetNode: "node-b"}}
		_, got := explain(lm, &v1alpha1.SourceEnd{Call: v1alpha1.CallFailed, ErrorMessage: message})
		if !strings.Contains(got, want) || !strings.Contains(got, message) || !strings.HasSuffix(got, "create another LiveMigration") {
			t.Errorf("%q is told as %q, want %q", message, got, want)
		}
	}
}
