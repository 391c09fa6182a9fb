package node

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

func TestCertificatesCondition(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cert := func(state v1alpha1.CertificateState, days int) v1alpha1.HostCertificate {
		return v1alpha1.HostCertificate{State: state, NotAfter: new(metav1.NewTime(now.AddDate(0, 0, days)))}
	}
	set := func(authority, server, client v1alpha1.HostCertificate) *v1alpha1.HostCredentials {
		return &v1alpha1.HostCredentials{Authority: authority, Server: server, Client: client}
	}
	const ready, missing = v1alpha1.CertificateReady, v1alpha1.CertificateMissing
	none := v1alpha1.HostCertificate{State: missing}
	good := set(cert(ready, 900), cert(ready, 90), cert(ready, 100))
	for _, c := range []struct {
		name    string
		tls     *v1alpha1.HostTLS
		status  metav1.ConditionStatus
		reason  string
		message string
	}{
		{"nothing is known", nil, metav1.ConditionUnknown, v1alpha1.ReasonCertificatesUnknown, "sees no"},
		{"there are none", &v1alpha1.HostTLS{Control: set(none, none, none)}, metav1.ConditionUnknown, v1alpha1.ReasonCertificatesUnknown, "sees no"},
		{"all are good", &v1alpha1.HostTLS{Control: good, Migration: good}, metav1.ConditionTrue, v1alpha1.ReasonCertificatesGood, "the server's for libvirt, does so on 2026-04-01 00:00 UTC"},
		{"some are not there", &v1alpha1.HostTLS{Control: good, Migration: set(cert(ready, 900), none, none)}, metav1.ConditionTrue, v1alpha1.ReasonCertificatesGood, "for libvirt"},
		{"one ends in two weeks", &v1alpha1.HostTLS{Migration: set(cert(ready, 900), cert(ready, 90), cert(ready, 14))}, metav1.ConditionTrue, v1alpha1.ReasonCertificatesGood, "for QEMU"},
		{"one ends sooner", &v1alpha1.HostTLS{Migration: set(cert(ready, 900), cert(ready, 90), cert(ready, 13))}, metav1.ConditionFalse, v1alpha1.ReasonCertificatesEnding, "the client's for QEMU, ends on 2026-01-14 00:00 UTC"},
		{
			"two are bad", &v1alpha1.HostTLS{Control: good, Migration: set(cert(v1alpha1.CertificateExpired, -1), cert(v1alpha1.CertificateUntrusted, 90), cert(ready, 1))},
			metav1.ConditionFalse, v1alpha1.ReasonCertificatesBad, "the authority's for QEMU (Expired), the server's for QEMU (Untrusted)",
		},
	} {
		got := certificatesCondition(&v1alpha1.HypervisorHost{TLS: c.tls}, now)
		if got.Status != c.status || got.Reason != c.reason || !strings.Contains(got.Message, c.message) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	if got := certificatesCondition(nil, now); got.Reason != v1alpha1.ReasonCertificatesUnknown {
		t.Errorf("of no host: %+v", got)
	}
}
