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

func TestWhatLetsTheHostInStaysWithItsProtocol(t *testing.T) {
	t.Parallel()
	beside := fixedDisk("network", authBy("ceph")+"<source protocol='rbd' name='p/y'><host name='a'/></source>")
	for name, c := range map[string]struct{ device, data, kept string }{
		"https":               {networkDisk("https", authBy("iscsi")), networkOf("https", ""), authBy("iscsi")},
		"ssh":                 {networkDisk("ssh", authBy("iscsi")), networkOf("ssh", ""), authBy("iscsi")},
		"rbd":                 {networkDisk("rbd", authBy("ceph")), networkOf("rbd", ""), authBy("ceph")},
		"rbd, the older form": {beside, networkOf("rbd", ""), authBy("ceph")},
		"nfs":                 {networkDisk("nfs", "<identity user='alice' group='kvm'/>"), networkOf("nfs", ""), "<identity user='alice' group='kvm'/>"},
		"iscsi":               {networkDisk("iscsi", "<initiator><iqn name='i'/></initiator>"+authBy("iscsi")), networkOf("iscsi", ""), "<iqn name='i'/>"},
		"another secret":      {networkDisk("https", authBy("iscsi")), networkOf("https", ", auth: {username: v, secretUsage: w}"), `username="v"`},
		"another initiator":   {networkDisk("iscsi", "<initiator><iqn name='i'/></initiator>"), networkOf("iscsi", ", initiatorIQN: j"), `name="j"`},
		"another NFS user":    {networkDisk("nfs", "<identity user='alice' group='kvm'/>"), networkOf("nfs", ", user: bob"), `user="bob"`},
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
