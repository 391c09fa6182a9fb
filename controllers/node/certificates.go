package node

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// certificatesNotice is how long before its end a certificate is to be replaced. The alert
// VirtferryCertificateEnds has the same.
const certificatesNotice = 14 * 24 * time.Hour

// usedCertificate is a certificate, and what people call it.
type usedCertificate struct {
	name string
	v1alpha1.HostCertificate
}

// certificatesOf are those that there are. One that is missing is missed only by those who
// need it: not everybody encrypts, nor connects by TLS.
func certificatesOf(tls *v1alpha1.HostTLS) []usedCertificate {
	var out []usedCertificate
	if tls == nil {
		return nil
	}
	for _, use := range []struct {
		name string
		*v1alpha1.HostCredentials
	}{{"libvirt", tls.Control}, {"QEMU", tls.Migration}} {
		if use.HostCredentials == nil {
			continue
		}
		for _, c := range []usedCertificate{
			{"the authority's for " + use.name, use.Authority}, {"the server's for " + use.name, use.Server}, {"the client's for " + use.name, use.Client},
		} {
			if c.State != v1alpha1.CertificateMissing {
				out = append(out, c)
			}
		}
	}
	return out
}

// certificatesCondition is the condition CertificatesValid.
func certificatesCondition(host *v1alpha1.HypervisorHost, now time.Time) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionCertificatesValid, LastTransitionTime: metav1.NewTime(now)}
	var all []usedCertificate
	if host != nil {
		all = certificatesOf(host.TLS)
	}
	var bad []string
	var first *usedCertificate
	for i := range all {
		if state := all[i].State; state != v1alpha1.CertificateReady {
			bad = append(bad, fmt.Sprintf("%s (%s)", all[i].name, state))
		}
		if end := all[i].NotAfter; end != nil && (first == nil || end.Before(first.NotAfter)) {
			first = &all[i]
		}
	}
	switch {
	case len(bad) > 0:
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonCertificatesBad
		c.Message = "Some of the host's certificates do not serve their purposes: " + strings.Join(bad, ", ") + ". Ask an administrator to replace them"
	case first == nil:
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonCertificatesUnknown
		c.Message = "The agent sees no certificates of the host"
	case first.NotAfter.Before(&metav1.Time{Time: now.Add(certificatesNotice)}):
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonCertificatesEnding
		c.Message = fmt.Sprintf("One of the host's certificates, %s, ends on %s. Ask an administrator to replace it before", first.name, day(first))
	default:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonCertificatesGood
		c.Message = fmt.Sprintf("The first of the host's certificates to end, %s, does so on %s", first.name, day(first))
	}
	c.Message = migration.Shorten(c.Message, migration.MaxConditionMessage)
	return c
}

func day(c *usedCertificate) string { return c.NotAfter.UTC().Format("2006-01-02 15:04 MST") }
