package migration

import (
	"strings"
)

// tlsFault is what libvirt or QEMU says when certificates do not fit, which names neither the
// host nor, often, the file. All of these were seen with libvirt 9.0, 11.3 and 12.8, with the
// guest running on as before.
type tlsFault struct {
	text string
	// remedy says what to do; {source} and {target} stand for the nodes.
	remedy string
}

// Where which certificates are; for what goes wrong between two QEMUs, and between two
// libvirts. Of texts that fit together, the first counts.
//
//nolint:gochecknoglobals // A constant.
var tlsFaults = []tlsFault{
	{"failed to verify peer's certificate", "check that the certificate of libvirt on {target}, /etc/pki/libvirt/servercert.pem, is for the address of that node and signed by the authority in /etc/pki/CA/cacert.pem on {source}"},
	{"unable to read tls confirmation", "check that libvirt on {source} has a certificate, /etc/pki/libvirt/clientcert.pem, which the authority that {target} trusts has signed and tls_allowed_dn_list there allows"},
	{"cannot read ca certificate", "put libvirt's certificates into their places on {source}"},
	{"clientcert.pem failed validation", "check that /etc/pki/libvirt/clientcert.pem on {source} is signed by the authority in /etc/pki/CA/cacert.pem there"},
	{"our own certificate", "check on both nodes that QEMU's certificates are signed by the authority in the ca-cert.pem beside them"},
	{"unable to access credentials", "put QEMU's certificates into their places on {source} and {target}"},
	{"certificate hasn't got a known issuer", "check that the authority in QEMU's ca-cert.pem on {source} has signed QEMU's certificate on {target}"},
	{"certificate does not match the hostname", "set spec.options.transfer.tlsDestination to a name in QEMU's certificate on {target}, or have that certificate replaced by one for the node's address"},
	{"tls channel", "check that QEMU on {source} has a client certificate that the authority on {target} has signed, and that QEMU's certificate on {target} is for that node's address"},
}

// tlsRemedy says what to do about an error that comes from certificates; empty if it does not.
func tlsRemedy(message, source, target string) string {
	message = strings.ToLower(message)
	for _, f := range tlsFaults {
		if strings.Contains(message, f.text) {
			return strings.NewReplacer("{source}", source, "{target}", target).Replace(f.remedy)
		}
	}
	return ""
}
