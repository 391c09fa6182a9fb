package xmlrewrite

import (
	"strings"
	"testing"
)

func networkDisk(protocol, inside string) string {
	return fixedDisk("network", "<source protocol='"+protocol+"' name='p/y'><host name='a'/>"+inside+"</source>")
}

func authBy(kind string) string {
	return "<auth username='u'><secret type='" + kind + "' usage='s'/></auth>"
}

func networkOf(protocol, more string) string {
	return vdaOn("network: {protocol: " + protocol + ", name: p/x, hosts: [{host: b}]" + more + "}")
}

func TestWhatLetsTheHostInStaysWhereTheServerDoes(t *testing.T) {
	t.Parallel()
	same := func(protocol, more string) string {
		return vdaOn("network: {protocol: " + protocol + ", name: p/x, hosts: [{host: c}, {host: a}]" + more + "}")
	}
	one := func(protocol, more string) string {
		return vdaOn("network: {protocol: " + protocol + ", name: p/x, hosts: [{host: a}]" + more + "}")
	}
	beside := fixedDisk("network", authBy("ceph")+"<source protocol='rbd' name='p/y'><host name='a'/></source>")
	for name, c := range map[string]struct{ device, data, kept string }{
		"https":                    {networkDisk("https", authBy("iscsi")), one("https", ""), authBy("iscsi")},
		"cookies":                  {networkDisk("https", cookie), one("https", ""), cookie},
		"ssh":                      {networkDisk("ssh", authBy("iscsi")), one("ssh", ""), authBy("iscsi")},
		"ssh by a key":             {networkDisk("ssh", sshKey), one("ssh", ""), sshKey},
		"rbd, of which one stays":  {networkDisk("rbd", authBy("ceph")), same("rbd", ""), authBy("ceph")},
		"rbd, the older form":      {beside, same("rbd", ""), authBy("ceph")},
		"rbd, by the host's files": {fixedDisk("network", "<source protocol='rbd' name='p/y'>"+authBy("ceph")+"</source>"), vdaOn("network: {protocol: rbd, name: p/x}"), authBy("ceph")},
		"a pool":                   {fixedDisk("volume", "<source pool='p' volume='v'>"+authBy("iscsi")+"</source>"), vdaOn("storagePool: {pool: p, volume: w}"), authBy("iscsi")},
		"nfs":                      {networkDisk("nfs", "<identity user='alice' group='kvm'/>"), networkOf("nfs", ""), "<identity user='alice' group='kvm'/>"},
		"iscsi":                    {networkDisk("iscsi", "<initiator><iqn name='i'/></initiator>"+authBy("iscsi")), one("iscsi", ""), "<iqn name='i'/>"},
		"another secret":           {networkDisk("https", authBy("iscsi")), networkOf("https", ", auth: {username: v, secretUsage: w}"), `username="v"`},
		"another initiator":        {networkDisk("iscsi", "<initiator><iqn name='i'/></initiator>"), networkOf("iscsi", ", initiatorIQN: j"), `name="j"`},
		"another NFS user":         {networkDisk("nfs", "<identity user='alice' group='kvm'/>"), networkOf("nfs", ", user: bob"), `user="bob"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := plannedOf(t, c.device, c.data)
			kept := strings.ReplaceAll(c.kept, `"`, "'")
			if xml := strings.ReplaceAll(r.xml, `"`, "'"); !strings.Contains(xml, kept) || strings.Contains(xml, "alice") && strings.Contains(xml, "bob") {
				t.Errorf("there is no %s: %s%s", kept, r.problems, r.xml)
			}
		})
	}
}

const (
	cookie = "<cookies><cookie name='session'>hush</cookie></cookies>"
	sshKey = "<identity username='u' keyfile='/root/.ssh/id'/>"
)

// TestNoCredentialsGoToAnotherServerUnasked: whoever writes the migrate data says whether
// they do.
func TestNoCredentialsGoToAnotherServerUnasked(t *testing.T) {
	t.Parallel()
	with := func(data, policy string) string {
		return strings.TrimSuffix(data, "}]") + ", credentials: " + policy + "}]"
	}
	pool := fixedDisk("volume", "<source pool='p' volume='v'>"+authBy("iscsi")+"</source>")
	for name, c := range map[string]struct{ device, data, held string }{
		"https":               {networkDisk("https", authBy("iscsi")), networkOf("https", ""), authBy("iscsi")},
		"another port":        {networkDisk("https", authBy("iscsi")), vdaOn("network: {protocol: https, name: x, hosts: [{host: a, port: 8443}]}"), authBy("iscsi")},
		"cookies":             {networkDisk("https", cookie), networkOf("https", ""), cookie},
		"cookies beside auth": {networkDisk("https", authBy("iscsi")+cookie), networkOf("https", ", auth: {username: v, secretUsage: w}"), cookie},
		"ssh by a password":   {networkDisk("ssh", authBy("iscsi")), networkOf("ssh", ""), authBy("iscsi")},
		"ssh by a key":        {networkDisk("ssh", sshKey), networkOf("ssh", ""), sshKey},
		"rbd":                 {networkDisk("rbd", authBy("ceph")), networkOf("rbd", ""), authBy("ceph")},
		"rbd, by other files": {
			fixedDisk("network", "<source protocol='rbd' name='p/y'><config file='/etc/ceph/a.conf'/>"+authBy("ceph")+"</source>"),
			vdaOn("network: {protocol: rbd, name: p/x, configFile: /etc/ceph/b.conf}"), authBy("ceph"),
		},
		"rbd, the older form": {fixedDisk("network", authBy("ceph")+"<source protocol='rbd' name='p/y'><host name='a'/></source>"), networkOf("rbd", ""), authBy("ceph")},
		"another pool":        {pool, vdaOn("storagePool: {pool: q, volume: v}"), authBy("iscsi")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := plannedOf(t, c.device, c.data); !strings.Contains(r.problems, "volumes[0].credentials") || strings.Contains(r.problems, "hush") {
				t.Errorf("they are sent, or nobody says how to decide: %s%s", r.problems, r.xml)
			}
			if r := plannedOf(t, c.device, with(c.data, "Keep")); !strings.Contains(r.xml, c.held) {
				t.Errorf("Keep does not keep them: %s%s", r.problems, r.xml)
			}
			r := plannedOf(t, c.device, with(c.data, "Drop"))
			if r.xml == "" || strings.Contains(r.xml, c.held) {
				t.Errorf("Drop does not drop them: %s%s", r.problems, r.xml)
			}
			if again := plannedOfGuest(t, r.xml, with(c.data, "Drop")); again.xml != r.xml {
				t.Errorf("not the same again: %s%s", again.problems, again.xml)
			}
		})
	}
}

func TestWhatBecomesOfCredentialsFitsTheSource(t *testing.T) {
	t.Parallel()
	entry := func(more string) string { return "volumes: [{targetDevice: vda, " + more + "}]" }
	https := networkDisk("https", authBy("iscsi")+cookie)
	for name, c := range map[string]struct{ data, says string }{
		"kept for another protocol": {entry("credentials: Keep, source: {network: {protocol: ssh, name: x, hosts: [{host: a}]}}"), "cannot be kept"},
		"without a source":          {entry("credentials: Drop"), "only where source"},
		"no such policy":            {entry("credentials: Send, source: {file: {path: /mnt/a}}"), "must be one of"},
	} {
		if r := plannedOf(t, https, c.data); !strings.Contains(r.problems, c.says) {
			t.Errorf("%s: want %q: %s%s", name, c.says, r.problems, r.xml)
		}
	}
	for name, data := range map[string]string{
		"the same server":  entry("credentials: Drop, source: {network: {protocol: https, name: x, hosts: [{host: a}]}}"),
		"another protocol": entry("credentials: Drop, source: {network: {protocol: ftp, name: x, hosts: [{host: a}]}}"),
	} {
		if r := plannedOf(t, https, data); r.xml == "" || strings.Contains(r.xml, "<auth") || strings.Contains(r.xml, "cookie") || strings.Contains(r.warnings, "authenticates") {
			t.Errorf("%s: not dropped, or warned about: %s%s%s", name, r.problems, r.warnings, r.xml)
		}
	}
	if r := plannedOf(t, networkDisk("https", cookie), networkOf("ftp", "")); !strings.Contains(r.warnings, "cookies") {
		t.Errorf("cookies are dropped in silence: %s%s", r.problems, r.warnings)
	}
}

func TestWhatADiskLosesWithItsOldSourceIsWarnedAbout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]changeOfDevice{
		"authentication of a pool": {fixedDisk("volume", "<source pool='p' volume='v' mode='direct'>"+authBy("iscsi")+"</source>"), networkOf("iscsi", ""), "<auth", "network.auth"},
		"authentication of Ceph":   {networkDisk("rbd", authBy("ceph")), networkOf("iscsi", ""), "<auth", "network.auth"},
		"a snapshot":               {networkDisk("rbd", "<snapshot name='s'/>"), networkOf("rbd", ""), "<snapshot", "snapshotName"},
		"a configuration file":     {networkDisk("rbd", "<config file='/etc/ceph/a.conf'/>"), networkOf("rbd", ""), "<config", "configFile"},
		"encryption on the way": {fixedDisk("network", "<source protocol='nbd' name='x' tls='yes'><host name='a'/></source>"),
			networkOf("nbd", ""), "tls=", "network.tls"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.check(t)
		})
	}
	if r := plannedOf(t, networkDisk("rbd", authBy("ceph")), vdaOn("file: {path: /mnt/a}")); r.warnings != "" || r.problems != "" {
		t.Errorf("files need no authentication: %s%s", r.problems, r.warnings)
	}
}
